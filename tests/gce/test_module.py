"""The module against the stand-in: one resource, made, changed and removed, through the real door."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.gce_api import Api, ApiError

from plugins.modules import gce_resource, gce_resource_info
from tests.gce.standin import failures
from tests.gce.standin.compute import Compute
from tests.gce.standin.door import Door

ZONE = "us-central1-a"
RULE = {
    "network": "global/networks/web",
    "sourceRanges": ["0.0.0.0/0"],
    "targetTags": ["http-server"],
    "allowed": [{"IPProtocol": "tcp", "ports": ["80"]}],
}
DISK = {
    "type": f"zones/{ZONE}/diskTypes/pd-balanced",
    "sizeGb": 20,
    "labels": {"barevision": "web"},
    "sourceImage": "projects/debian-cloud/global/images/family/debian-12",
}
INSTANCE = {
    "machineType": f"zones/{ZONE}/machineTypes/e2-medium",
    "labels": {"barevision": "web"},
    "tags": {"items": ["http-server"]},
    "metadata": {"items": [{"key": "a", "value": "1"}]},
    "disks": [{"boot": True, "autoDelete": True, "source": f"zones/{ZONE}/disks/web-1"}],
    "networkInterfaces": [{"network": "global/networks/web", "accessConfigs": [{"name": "ephemeral"}]}],
    "scheduling": {"provisioningModel": "STANDARD"},
    "shieldedInstanceConfig": {"enableSecureBoot": True},
}


class ModuleError(Exception):
    """What the module fails with."""


Module = Callable[..., dict[str, Any]]


@pytest.fixture
def api(door: Door, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Logged in with an access token."""
    for name, value in door.environment.items():
        monkeypatch.setenv(name, value)
    return Api("demo-project", access_token=door.environment["GCP_ACCESS_TOKEN"], timeout=20)


@pytest.fixture
def module(api: Api) -> Module:
    """Runs gce_resource as a task does; further parameters by name."""

    def run(
        kind: str,
        name: str,
        body: dict | None = None,
        check_mode: bool = False,
        may_stop: bool = False,
        **parameters: Any,
    ) -> dict[str, Any]:
        wanted = {"kind": kind, "name": name, "body": body or {}, "state": "present"}
        wanted["zone"] = ZONE if kind in ("disks", "instances") else None
        wanted["region"] = "us-central1" if kind == "addresses" else None
        params = {"resources": [{**wanted, **parameters}], "may_stop": may_stop}
        result = gce_resource.run(SimpleNamespace(params=params, check_mode=check_mode), api)
        if "msg" in result:
            raise ModuleError(result["msg"])
        (diff,) = result["diff"] or [{"before": {}, "after": {}}]
        return {**result, "resource": result["resources"][0], "diff": diff}

    return run


@pytest.fixture
def network(module: Module) -> None:
    """The network of all the others."""
    module("networks", "web", {"autoCreateSubnetworks": True})


@pytest.fixture
def instance(module: Module, network: None) -> None:
    """A machine with a disk."""
    module("disks", "web-1", DISK)
    module("instances", "web-1", INSTANCE)


MAKES = [
    ("networks", "net", {"autoCreateSubnetworks": True}),
    ("firewalls", "web-http", RULE),
    ("addresses", "web-1", {"labels": {"barevision": "web"}}),
    ("disks", "web-2", DISK),
    ("instances", "web-1", INSTANCE),
]


@pytest.mark.parametrize(("kind", "name", "body"), MAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_resource_comes_stays_and_goes(
    compute: Compute, module: Module, network: None, kind: str, name: str, body: dict
) -> None:
    module("disks", "web-1", DISK)
    before = len(compute.changes)
    assert module(kind, name, body, check_mode=True)["changed"]
    assert len(compute.changes) == before, "check mode changed something"

    made = module(kind, name, body)
    # Google takes an address's labels only when it is there.
    assert made["calls"] == [f"POST {kind} ({name})"] + ["POST addresses/web-1/setLabels"] * (kind == "addresses")
    assert made["diff"]["before"] == {}
    assert made["diff"]["after"] == body
    assert made["resource"]["selfLink"].endswith(f"/{kind}/{name}")

    after = len(compute.changes)
    again = module(kind, name, body)
    assert (again["changed"], again["calls"], again["diff"]["after"]) == (False, [], {})
    assert again["resource"] == made["resource"]
    assert len(compute.changes) == after

    assert module(kind, name, state="absent", check_mode=True)["changed"]
    assert module(kind, name, state="absent")["calls"] == [f"DELETE {kind}/{name}"]
    assert not module(kind, name, state="absent")["changed"]


N2 = {**INSTANCE, "machineType": f"zones/{ZONE}/machineTypes/n2-standard-2"}
GOOGLE_S_DEFAULTS = {
    "ingress from everywhere": ("firewalls", {"allowed": RULE["allowed"]}),
    "ingress of an empty list": ("firewalls", {"sourceRanges": [], "allowed": RULE["allowed"]}),
    "ingress from tags": ("firewalls", {"sourceTags": ["a"], "allowed": RULE["allowed"]}),
    "ingress of accounts": (
        "firewalls",
        {"sourceServiceAccounts": ["x@demo-project.iam.gserviceaccount.com"], "denied": [{"IPProtocol": "all"}]},
    ),
    "egress to everywhere": ("firewalls", {"direction": "EGRESS", "denied": [{"IPProtocol": "all"}]}),
    "egress to a network": (
        "firewalls",
        {"direction": "EGRESS", "destinationRanges": ["10.0.0.0/8"], "allowed": [{"IPProtocol": "udp"}]},
    ),
    "capitals": ("firewalls", {**RULE, "allowed": [{"IPProtocol": "TCP", "ports": ["80"]}, {"IPProtocol": "Icmp"}]}),
    "address inside of Google": ("addresses", {"addressType": "INTERNAL", "labels": {"a": "1"}}),
    "platform that the type requires": ("instances", N2),
}


@pytest.mark.parametrize(("kind", "body"), GOOGLE_S_DEFAULTS.values(), ids=GOOGLE_S_DEFAULTS)
def test_what_google_fills_in_or_spells_otherwise_is_no_change(
    module: Module, network: None, kind: str, body: dict
) -> None:
    body = {"network": "global/networks/web", **body} if kind == "firewalls" else body
    if kind == "instances":
        module("disks", "web-1", DISK)
    assert module(kind, "web-1", body)["changed"]
    assert not module(kind, "web-1", body)["changed"]
    assert not module(kind, "web-1", body, check_mode=True)["changed"]


def test_a_rule_that_no_longer_names_sources_is_for_all(module: Module, network: None) -> None:
    module("firewalls", "web-1", with_(RULE, sourceRanges=["10.0.0.0/8"]))
    everywhere = {name: value for name, value in RULE.items() if name != "sourceRanges"}
    result = module("firewalls", "web-1", everywhere)
    assert result["resource"]["sourceRanges"] == ["0.0.0.0/0"]
    assert not module("firewalls", "web-1", everywhere)["changed"]


@pytest.mark.parametrize("kind", ["images", "snapshots"])
def test_labels_of_what_others_made_are_changed(compute: Compute, module: Module, kind: str) -> None:
    compute.add(f"projects/demo-project/global/{kind}/mine", {"labels": {"a": "1"}, "status": "READY"})
    assert module(kind, "mine", {"labels": {"b": "2"}})["resource"]["labels"] == {"b": "2"}
    assert not module(kind, "mine", {"labels": {"b": "2"}})["changed"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *[("instances", status) for status in ("DEPROVISIONING", "PENDING", "PENDING_STOP", "STAGING", "REPAIRING")],
        *[("images", "PENDING"), ("snapshots", "UPLOADING"), ("disks", "CREATING"), ("addresses", "RESERVING")],
    ],
)
def test_what_passes_is_waited_for(
    compute: Compute, module: Module, instance: None, monkeypatch: pytest.MonkeyPatch, kind: str, status: str
) -> None:
    place = {"instances": f"zones/{ZONE}", "disks": f"zones/{ZONE}", "addresses": "regions/us-central1"}
    name = "web-1" if kind == "instances" else "other"
    path = f"projects/demo-project/{place.get(kind, 'global')}/{kind}/{name}"
    resource = compute.resources.get(path) or compute.add(path, {})
    resource["status"] = status
    ends = iter([status, {"instances": "TERMINATED", "addresses": "RESERVED"}.get(kind, "READY")])
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: resource.update(status=next(ends)))
    monkeypatch.setattr(gce_resource, "time", clock)
    module(kind, name, state="absent")
    assert list(ends) == [], "not waited"
    assert path not in compute.resources


@pytest.mark.parametrize("state", ["present", "running"])
def test_a_suspended_machine_is_stopped_before_it_is_changed(
    compute: Compute, module: Module, instance: None, state: str
) -> None:
    live = compute.resources[f"projects/demo-project/zones/{ZONE}/instances/web-1"]
    live["status"] = "SUSPENDED"
    small = with_(INSTANCE, machineType=f"zones/{ZONE}/machineTypes/g1-small")
    with pytest.raises(ModuleError, match="has to be stopped"):
        module("instances", "web-1", small, state=state)
    said = module("instances", "web-1", small, state=state, may_stop=True, check_mode=True)
    done = module("instances", "web-1", small, state=state, may_stop=True)
    calls = [f"POST instances/web-1/{name}" for name in ("stop", "setMachineType", "start")]
    assert said["calls"] == done["calls"] == calls[: 3 if state == "running" else 2]
    assert live["status"] == ("RUNNING" if state == "running" else "TERMINATED")


def test_a_suspended_machine_is_resumed(compute: Compute, module: Module, instance: None) -> None:
    live = compute.resources[f"projects/demo-project/zones/{ZONE}/instances/web-1"]
    live["status"] = "SUSPENDED"
    assert module("instances", "web-1", INSTANCE, state="running")["calls"] == ["POST instances/web-1/resume"]
    assert live["status"] == "RUNNING"


def with_(body: dict, **fields: Any) -> dict:
    return {**body, **fields}


def entries(*items: dict[str, str]) -> dict:
    return with_(INSTANCE, metadata={"items": list(items)})


STATIC = "203.0.113.1"
SET_METADATA = "POST instances/web-1/setMetadata"
CHANGES = {
    "source range added": ("firewalls", with_(RULE, sourceRanges=["10.0.0.0/8"]), RULE, ["PUT firewalls/web-1"]),
    "source range removed": ("firewalls", RULE, with_(RULE, sourceRanges=["10.0.0.0/8"]), ["PUT firewalls/web-1"]),
    "port added": (
        "firewalls",
        RULE,
        with_(RULE, allowed=[{"IPProtocol": "tcp", "ports": ["80", "443"]}]),
        ["PUT firewalls/web-1"],
    ),
    "port removed": (
        "firewalls",
        with_(RULE, allowed=[{"IPProtocol": "tcp", "ports": ["80", "443"]}]),
        RULE,
        ["PUT firewalls/web-1"],
    ),
    "target tag removed": ("firewalls", RULE, with_(RULE, targetTags=[]), ["PUT firewalls/web-1"]),
    "description removed": ("firewalls", with_(RULE, description="x"), RULE, ["PUT firewalls/web-1"]),
    "rule switched off": ("firewalls", RULE, with_(RULE, disabled=True), ["PUT firewalls/web-1"]),
    "address's label": (
        "addresses",
        {"labels": {"a": "1"}},
        {"labels": {"b": "2"}},
        ["POST addresses/web-1/setLabels"],
    ),
    "disk's label removed": ("disks", DISK, with_(DISK, labels={}), ["POST disks/web-1/setLabels"]),
    "disk's size": ("disks", DISK, with_(DISK, sizeGb=30), ["POST disks/web-1/resize"]),
    "label added": (
        "instances",
        INSTANCE,
        with_(INSTANCE, labels={"barevision": "web", "new": "1"}),
        ["POST instances/web-1/setLabels"],
    ),
    "label removed": ("instances", INSTANCE, with_(INSTANCE, labels={}), ["POST instances/web-1/setLabels"]),
    "tag added": (
        "instances",
        INSTANCE,
        with_(INSTANCE, tags={"items": ["http-server", "more"]}),
        ["POST instances/web-1/setTags"],
    ),
    "tag removed": ("instances", INSTANCE, with_(INSTANCE, tags={}), ["POST instances/web-1/setTags"]),
    "metadata added": (
        "instances",
        INSTANCE,
        with_(INSTANCE, metadata={"items": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]}),
        ["POST instances/web-1/setMetadata"],
    ),
    "metadata removed": ("instances", INSTANCE, with_(INSTANCE, metadata={}), ["POST instances/web-1/setMetadata"]),
    "label without a value added": (
        "instances",
        INSTANCE,
        with_(INSTANCE, labels={"barevision": "web", "prod": ""}),
        ["POST instances/web-1/setLabels"],
    ),
    "label without a value removed": (
        "addresses",
        {"labels": {"prod": ""}},
        {},
        ["POST addresses/web-1/setLabels"],
    ),
    "label emptied": ("disks", DISK, with_(DISK, labels={"barevision": ""}), ["POST disks/web-1/setLabels"]),
    "empty entry added": ("instances", entries(), entries({"key": "a", "value": ""}), [SET_METADATA]),
    "empty entry removed": ("instances", entries({"key": "a", "value": ""}), entries(), [SET_METADATA]),
    "entry emptied": ("instances", INSTANCE, entries({"key": "a", "value": ""}), [SET_METADATA]),
    "entry without a value added": ("instances", INSTANCE, entries({"key": "a"}, {"key": "b"}), [SET_METADATA]),
    "protection": (
        "instances",
        INSTANCE,
        with_(INSTANCE, deletionProtection=True),
        ["POST instances/web-1/setDeletionProtection"],
    ),
    "address removed": (
        "instances",
        INSTANCE,
        with_(INSTANCE, networkInterfaces=[{"network": "global/networks/web", "accessConfigs": []}]),
        ["POST instances/web-1/deleteAccessConfig"],
    ),
    "address added": (
        "instances",
        with_(INSTANCE, networkInterfaces=[{"network": "global/networks/web", "accessConfigs": []}]),
        INSTANCE,
        ["POST instances/web-1/addAccessConfig"],
    ),
    "address made static": (
        "instances",
        INSTANCE,
        with_(
            INSTANCE,
            networkInterfaces=[
                {"network": "global/networks/web", "accessConfigs": [{"name": "static", "natIP": STATIC}]}
            ],
        ),
        ["POST instances/web-1/deleteAccessConfig", "POST instances/web-1/addAccessConfig"],
    ),
    "machine type": (
        "instances",
        INSTANCE,
        with_(INSTANCE, machineType=f"zones/{ZONE}/machineTypes/g1-small"),
        ["POST instances/web-1/stop", "POST instances/web-1/setMachineType", "POST instances/web-1/start"],
    ),
    "machine type and platform": (
        "instances",
        INSTANCE,
        with_(INSTANCE, machineType=f"zones/{ZONE}/machineTypes/n2-standard-2", minCpuPlatform="Intel Ice Lake"),
        [f"POST instances/web-1/{name}" for name in ("stop", "setMachineType", "setMinCpuPlatform", "start")],
    ),
    "machine type without the platform that it requires": (
        "instances",
        with_(INSTANCE, machineType=f"zones/{ZONE}/machineTypes/n2-standard-2"),
        INSTANCE,
        [f"POST instances/web-1/{name}" for name in ("stop", "setMinCpuPlatform", "setMachineType", "start")],
    ),
    "service account and Secure Boot": (
        "instances",
        INSTANCE,
        with_(
            INSTANCE,
            serviceAccounts=[{"email": "x@demo-project.iam.gserviceaccount.com", "scopes": ["s"]}],
            shieldedInstanceConfig={"enableSecureBoot": False},
        ),
        [
            "POST instances/web-1/stop",
            "PATCH instances/web-1/updateShieldedInstanceConfig",
            "POST instances/web-1/setServiceAccount",
            "POST instances/web-1/start",
        ],
    ),
}


@pytest.mark.parametrize(("kind", "old", "new", "calls"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_made_once_and_as_check_mode_said(
    compute: Compute, module: Module, network: None, kind: str, old: dict, new: dict, calls: list[str]
) -> None:
    if kind == "instances":
        module("addresses", "static")
        module("disks", "web-1", DISK)
    module(kind, "web-1", old)
    before = len(compute.changes)

    said = module(kind, "web-1", new, check_mode=True, may_stop=True)
    assert said["changed"]
    assert len(compute.changes) == before, "check mode changed something"
    done = module(kind, "web-1", new, may_stop=True)
    assert sorted(done["calls"]) == sorted(calls)
    assert sorted(compute.changes[before:]) == sorted(calls)
    assert (said["diff"], said["calls"]) == (done["diff"], done["calls"])
    assert done["diff"]["before"] != done["diff"]["after"]
    assert done["diff"]["before"].keys() == done["diff"]["after"].keys()

    assert not module(kind, "web-1", new)["changed"]
    assert not module(kind, "web-1", new, check_mode=True)["changed"]


REFUSALS = {
    "disk smaller": ("disks", with_(DISK, sizeGb=10), "a disk can only grow"),
    "disk of another type": ("disks", with_(DISK, type=f"zones/{ZONE}/diskTypes/pd-ssd"), "no call that changes it"),
    "other image": (
        "disks",
        with_(DISK, sourceImage="projects/debian-cloud/global/images/family/debian-13"),
        "the image is only read when the disk is made",
    ),
    "spot": ("instances", with_(INSTANCE, scheduling={"provisioningModel": "SPOT"}), "spot instance is decided"),
    "machine type without leave": (
        "instances",
        with_(INSTANCE, machineType=f"zones/{ZONE}/machineTypes/g1-small"),
        "Allow it with may_stop",
    ),
    "platform without leave": (
        "instances",
        with_(INSTANCE, machineType=f"zones/{ZONE}/machineTypes/n1-standard-1", minCpuPlatform="Intel Skylake"),
        r"minCpuPlatform \(None to Intel Skylake\).*Allow it with may_stop",
    ),
    "network": (
        "instances",
        with_(INSTANCE, networkInterfaces=[{"network": "global/networks/other"}]),
        "stays in the network",
    ),
}


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(("kind", "body", "complaint"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_changed_is_refused_before_anything_is(
    compute: Compute, module: Module, instance: None, kind: str, body: dict, complaint: str, check_mode: bool
) -> None:
    before = len(compute.changes)
    with pytest.raises(ModuleError, match=rf"{kind}/web-1: .*{complaint}"):
        module(kind, "web-1", {**body, "labels": {"changed": "too"}}, check_mode=check_mode)
    assert len(compute.changes) == before


def test_a_machine_that_was_stopped_is_started_on_request_only(module: Module, api: Api, instance: None) -> None:
    api.change("POST", f"zones/{ZONE}/instances/web-1/stop", None, {})
    assert not module("instances", "web-1", INSTANCE)["changed"]
    said = module("instances", "web-1", INSTANCE, state="running", check_mode=True)
    assert said["diff"]["before"] == {"status": "TERMINATED"}
    assert module("instances", "web-1", INSTANCE, state="running")["calls"] == ["POST instances/web-1/start"]
    assert not module("instances", "web-1", INSTANCE, state="running")["changed"]


def test_a_machine_runs_again_when_its_change_fails(compute: Compute, module: Module, instance: None) -> None:
    compute.fail("compute.instances.setMachineType", failures.QUOTA)
    body = with_(INSTANCE, machineType=f"zones/{ZONE}/machineTypes/g1-small")
    with pytest.raises(ModuleError, match="QUOTA_EXCEEDED"):
        module("instances", "web-1", body, may_stop=True)
    assert module("instances", "web-1", INSTANCE)["resource"]["status"] == "RUNNING"


def test_what_was_changed_by_hand_is_changed_back(compute: Compute, module: Module, instance: None) -> None:
    module("instances", "web-1", with_(INSTANCE, tags={"items": ["by-hand"]}, labels={"by": "hand"}))
    result = module("instances", "web-1", INSTANCE)
    assert result["diff"]["before"] == {"labels": {"by": "hand"}, "tags": ["by-hand"]}


def test_an_image_that_is_gone_tells_nothing(compute: Compute, module: Module, instance: None) -> None:
    disk = compute.resources[f"projects/demo-project/zones/{ZONE}/disks/web-1"]
    disk["sourceImage"] = disk["sourceImage"].replace("debian-12", "debian-9")
    assert not module("disks", "web-1", DISK)["changed"]


FAULTS = {
    "permission": (failures.PERMISSION, "docs/gce.md lists the roles"),
    "API disabled": (failures.API_DISABLED, "gcloud services enable compute.googleapis.com --project=demo-project"),
    "quota": (failures.QUOTA, r"Quota 'CPUS' exceeded.*\(QUOTA_EXCEEDED\).*or ask for more"),
    "stockout": (failures.STOCKOUT, "another zone or machine type"),
    "no address allowed": (
        failures.policy("constraints/compute.vmExternalIpAccess"),
        r"policy of the organization, constraints/compute\.vmExternalIpAccess, forbids.*gce_instance_address: none",
    ),
    "policy in an operation": (
        failures.policy("constraints/compute.requireOsLogin", in_operation=True),
        r"constraints/compute\.requireOsLogin, forbids.*gce_instance_os_login: true",
    ),
    "managed policy": (
        failures.policy("constraints/compute.managed.vmExternalIpAccess"),
        r"constraints/compute\.managed\.vmExternalIpAccess, forbids.*gce_instance_address: none",
    ),
    "policy of their own": (failures.policy("customConstraints/custom.onlyN2"), r"customConstraints/custom\.onlyN2,"),
    "no account user": (failures.NO_ACCOUNT_USER, r"roles/iam\.serviceAccountUser"),
    "no account user, at once": (failures.NO_ACCOUNT_USER_AT_ONCE, r"roles/iam\.serviceAccountUser"),
}


@pytest.mark.parametrize(("kind", "name", "body"), MAKES, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS)
def test_a_failure_is_told_in_words_and_the_next_run_converges(
    compute: Compute, module: Module, network: None, kind: str, name: str, body: dict, fault: failures.Fault, words: str
) -> None:
    module("disks", "web-1", DISK)
    compute.fail(f"compute.{kind}.insert", fault)
    with pytest.raises(ModuleError, match=words):
        module(kind, name, body)
    compute.heal()
    assert module(kind, name, body)["changed"]
    assert not module(kind, name, body)["changed"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats at once."""
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    monkeypatch.setattr("ansible.module_utils.gce_api._PAUSES", (0, 0, 0, 0))


@pytest.mark.parametrize("fault", [failures.NOT_READY_LATER, failures.OPERATION_RATE], ids=lambda fault: fault.reason)
def test_an_operation_that_came_too_early_is_asked_for_again(
    compute: Compute, module: Module, impatient: None, fault: failures.Fault
) -> None:
    compute.fail("compute.networks.insert", fault, times=3)
    assert module("networks", "web", {"autoCreateSubnetworks": True})["changed"]
    assert compute.changes == ["POST networks"] * 4


def test_a_minute_s_limit_is_waited_for(
    compute: Compute, module: Module, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.timeout = 300
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    compute.fail("compute.networks.get", failures.RATE_LIMIT)
    with pytest.raises(ApiError, match="Google limits the number of requests"):
        api.get("global/networks/web")
    # Google's limits are for a minute, older ones for 100 seconds.
    assert sum(slept) > 100


@pytest.mark.parametrize(
    "fault",
    [
        *(failures.RATE_LIMIT, failures.RATE_LIMIT_403, failures.TOO_MANY_OPERATIONS, failures.NOT_READY),
        *(failures.QUOTA_OF_A_MINUTE, failures.UNAVAILABLE, failures.CUT),
    ],
    ids=["429", "403", "operations", "not ready", "quota of a minute", "503", "cut"],
)
def test_what_passes_is_ridden_out_without_doing_anything_twice(
    compute: Compute, module: Module, impatient: None, fault: failures.Fault
) -> None:
    compute.fail("compute.networks.insert", fault, times=3)
    assert module("networks", "web", {"autoCreateSubnetworks": True})["changed"]
    ids = {call.query["requestId"] for call in compute.calls if call.verb == "POST" and call.path.endswith("/networks")}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (failures.RATE_LIMIT, "Google limits the number of requests"),
        (failures.RATE_LIMIT_403, "Google limits the number of requests"),
        (failures.TOO_MANY_OPERATIONS, "Google limits the number of requests"),
        (failures.QUOTA_OF_A_MINUTE, "Google limits the number of requests"),
        (failures.OPERATION_RATE, "Google limits the number of requests"),
        (failures.NOT_READY, "not ready yet"),
        (failures.NOT_READY_LATER, "not ready yet"),
        (failures.UNAVAILABLE, "A failure at Google: run again"),
        (failures.CUT, "Google can't be reached"),
    ],
    ids=[
        "429",
        "403",
        "operations",
        "quota of a minute",
        "operation rate",
        "not ready",
        "not ready later",
        "503",
        "cut",
    ],
)
def test_what_does_not_pass_is_told(
    compute: Compute, module: Module, impatient: None, fault: failures.Fault, words: str
) -> None:
    compute.fail("compute.networks.insert", fault)
    with pytest.raises(ModuleError, match=words):
        module("networks", "web", {"autoCreateSubnetworks": True})


def test_a_short_timeout_waits_no_longer_for_a_limit(
    compute: Compute, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.timeout = 6
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    compute.fail("compute.networks.get", failures.RATE_LIMIT_403)
    with pytest.raises(ApiError, match="Google limits the number of requests"):
        api.get("global/networks/web")
    assert slept == [1, 2]


def test_an_operation_without_end_is_left_to_google(compute: Compute, module: Module, api: Api) -> None:
    api.timeout = 0.5
    compute.fail("compute.networks.insert", failures.ENDLESS)
    with pytest.raises(ModuleError, match=r"not done after 0\.5 seconds.*run again in a while"):
        module("networks", "web", {"autoCreateSubnetworks": True})


def test_a_change_at_the_same_moment_is_not_overwritten(
    compute: Compute, module: Module, instance: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = gce_resource.plan

    def somebody_else_first(kind: Any, spec: dict, live: dict, differing: list) -> Any:
        path = f"projects/demo-project/zones/{ZONE}/instances/web-1"
        compute.resources[path]["tags"] = {"items": ["other"], "fingerprint": "b3RoZXI="}
        return plan(kind, spec, live, differing)

    monkeypatch.setattr(gce_resource, "plan", somebody_else_first)
    with pytest.raises(ModuleError, match=r"fingerprint.*Somebody else changed it.*run again"):
        module("instances", "web-1", with_(INSTANCE, tags={}))


@pytest.mark.parametrize("method", ["networks.insert", "networks.get"])
def test_a_refusal_is_not_asked_for_again(compute: Compute, module: Module, method: str) -> None:
    compute.fail(f"compute.{method}", failures.PERMISSION)
    with pytest.raises(ModuleError, match="A role that was just given counts after a few minutes"):
        module("networks", "web", {"autoCreateSubnetworks": True})
    assert len(compute.calls) == (2 if method == "networks.insert" else 1)


@pytest.fixture
def attributes(api: Api, instance: None) -> Callable[[], dict[str, str]]:
    """Reads a machine's host keys, as a task does."""
    machine = {"zone": ZONE, "name": "web-1", "path": "hostkeys/"}
    return lambda: gce_resource_info.run(api, {"kinds": None, "guest_attributes": machine})["guest_attributes"]


def guest_attributes(compute: Compute, monkeypatch: pytest.MonkeyPatch, items: list[dict[str, str]]) -> None:
    """From now on, machines say this."""
    answer = {"kind": "compute#guestAttributes", "queryPath": "hostkeys/", "queryValue": {"items": items}}
    monkeypatch.setattr("tests.gce.standin.methods.instances.get_guest_attributes", lambda *_: answer)


def test_host_keys_are_waited_for(
    compute: Compute, attributes: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"namespace": "hostkeys", "key": "ssh-ed25519", "value": "AAAA"}]
    threading.Timer(0.5, lambda: guest_attributes(compute, monkeypatch, items)).start()
    assert attributes() == {"ssh-ed25519": "AAAA"}


def test_host_keys_that_never_come_are_none(api: Api, attributes: Callable[[], dict[str, str]]) -> None:
    api.timeout = 0.5
    assert attributes() == {}


def test_an_attribute_without_a_value_is_an_empty_one(
    compute: Compute, attributes: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    guest_attributes(compute, monkeypatch, [{"namespace": "hostkeys", "key": "ssh-rsa"}])
    assert attributes() == {"ssh-rsa": ""}


def test_a_refused_question_for_host_keys_is_not_repeated(
    compute: Compute, attributes: Callable[[], dict[str, str]]
) -> None:
    compute.fail("compute.instances.getGuestAttributes", failures.PERMISSION)
    with pytest.raises(ApiError, match="lists the roles that it needs"):
        attributes()
    assert sum("getGuestAttributes" in call.path for call in compute.calls) == 1


def test_a_login_that_has_expired_is_told(door: Door, module: Module) -> None:
    door.expired = True
    with pytest.raises(ModuleError, match=r"login has expired.*gcloud auth"):
        module("networks", "web", {"autoCreateSubnetworks": True})


def test_another_project_is_told(api: Api) -> None:
    api.project = "no-such-project"
    with pytest.raises(ApiError, match="'projects/no-such-project' was not found"):
        api.get("global/networks/web")


def test_the_number_of_a_project_is_told() -> None:
    with pytest.raises(ApiError, match="4711 is the number of a project"):
        Api("4711", access_token="x")


def test_a_service_account_logs_in(door: Door, api: Api) -> None:
    account = Api("demo-project", service_account_file=str(door.service_account_file()))
    assert account.get("global/networks/web") is None


def test_the_application_default_credentials_log_in(door: Door, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(door.service_account_file()))
    assert Api("demo-project").get("global/networks/web") is None


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "can't be read"), ("{}", r"key\.json: .*gcloud auth")], ids=["missing", "empty"]
)
def test_a_service_account_file_of_no_use_is_named(tmp_path: Any, content: str | None, complaint: str) -> None:
    key = tmp_path / "key.json"
    if content:
        key.write_text(content)
    with pytest.raises(ApiError, match=complaint):
        Api("demo-project", service_account_file=str(key))


def test_no_login_at_all_is_told(door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, value in {
        **door.environment_without_login,
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ApiError, match=r"no credentials: .*GCP_SERVICE_ACCOUNT_FILE"):
        Api("demo-project")


def test_lists_are_whole(compute: Compute, module: Module, api: Api, network: None) -> None:
    compute.page_size = 2
    for number in range(5):
        module("disks", f"web-{number}", DISK)
    module("disks", "other", with_(DISK, labels={"barevision": "other"}))
    found = list(api.find("disks", 'labels.barevision = "web"', everywhere=True))
    assert [disk["name"] for disk in found] == [f"web-{number}" for number in range(5)]
    (network,) = api.find("networks", 'name = "web"', everywhere=False)
    assert network["name"] == "web"


@pytest.mark.parametrize(("kind", "place"), [("disks", "zone"), ("addresses", "region")])
def test_a_missing_place_is_told(module: Module, kind: str, place: str) -> None:
    with pytest.raises(ValueError, match=f"say which {place}"):
        module(kind, "web-1", zone=None, region=None)
