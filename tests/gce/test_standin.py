"""The stand-in refuses what Google refuses. A lenient one would prove nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from google.auth import crypt, jwt
from google.auth.transport.requests import AuthorizedSession
from google.oauth2 import service_account

from tests.gce.standin import discovery, failures
from tests.gce.standin.compute import Compute
from tests.gce.standin.door import ACCOUNT, TOKEN_URL, Door

BASE = "https://compute.googleapis.com/compute/v1/projects/demo-project"
ZONE = "zones/us-central1-a"
NET = {"name": "net", "autoCreateSubnetworks": True}
RULE = {"name": "rule", "network": "global/networks/net", "allowed": [{"IPProtocol": "tcp"}]}
DISK = {"name": "vm", "sourceImage": "projects/debian-cloud/global/images/family/debian-12"}
VM = {
    "name": "vm",
    "machineType": f"{ZONE}/machineTypes/e2-medium",
    "disks": [{"boot": True, "source": f"{ZONE}/disks/vm"}],
    "networkInterfaces": [{"network": "global/networks/net"}],
}

Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(door: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Sends a request through the door, with a login; all of a test over one connection."""
    for name, value in door.environment.items():
        monkeypatch.setenv(name, value)
    headers = {"Authorization": f"Bearer {door.environment['GCP_ACCESS_TOKEN']}"}

    with requests.Session() as session:

        def send(verb: str, path: str, body: Any = None, **query: str) -> requests.Response:
            return session.request(verb, f"{BASE}/{path}", json=body, params=query, headers=headers, timeout=10)

        yield send


@pytest.fixture
def make(ask: Ask) -> Callable[..., dict]:
    """Changes something, and waits."""

    def wait(verb: str, path: str, body: Any = None, **query: str) -> dict:
        answer = ask(verb, path, body, **query)
        assert answer.status_code == 200, answer.text
        operation = answer.json()["selfLink"].partition("/demo-project/")[2]
        return ask("POST", f"{operation}/wait").json()

    return wait


@pytest.fixture
def vm(make: Callable[..., dict]) -> None:
    """A running instance."""
    make("POST", "global/networks", NET)
    make("POST", f"{ZONE}/disks", DISK)
    make("POST", f"{ZONE}/instances", VM)


@pytest.mark.parametrize(
    ("verb", "path", "body", "query", "status", "message"),
    [
        ("PUT", f"{ZONE}/autoscalers/a", {}, {}, 404, "was not found on this server"),
        ("GET", "global/nothing", None, {}, 404, "was not found on this server"),
        ("GET", "global/networks/none", None, {}, 404, "networks/none' was not found"),
        ("GET", "zones/mars-a/disks", None, {}, 400, "Unknown zone"),
        ("POST", "global/networks", {**NET, "colour": "red"}, {}, 400, "'colour' was unexpected"),
        ("POST", "global/networks", {**NET, "selfLink": "x"}, {}, 400, "'selfLink' was unexpected"),
        ("POST", "global/networks", {**NET, "name": "Net_1"}, {}, 400, "does not match"),
        ("POST", "global/networks", {"autoCreateSubnetworks": True}, {}, 400, "'name' is a required property"),
        ("POST", "global/networks", {**NET, "autoCreateSubnetworks": "yes"}, {}, 400, "not of type 'boolean'"),
        ("POST", "global/networks", None, {}, 400, "needs a body"),
        ("POST", "global/networks", NET, {"force": "true"}, 400, 'Unknown name "force"'),
        ("POST", "global/networks", NET, {"requestId": "1"}, 400, "Must be a valid UUID"),
        ("POST", "global/networks", NET, {"requestId": str(uuid.UUID(int=0))}, 400, "Must be a valid UUID"),
        ("DELETE", "global/networks/net", {"a": 1}, {}, 400, "takes no body"),
        ("POST", "global/firewalls", RULE, {}, 404, "networks/net' was not found"),
        ("GET", "global/networks", None, {"filter": "name is net"}, 400, "Invalid list filter"),
        ("GET", "global/networks", None, {"maxResults": "many"}, 400, "Invalid value for field 'maxResults'"),
        ("GET", "global/networks", None, {"maxResults": "501"}, 400, "0 to 500"),
        ("GET", "global/networks", None, {"pageToken": "none"}, 400, "Invalid value for field 'pageToken'"),
        ("POST", "global/networks", NET, {"requestId": uuid.uuid4().hex}, 400, "Must be a valid UUID"),
        ("POST", "global/networks", NET, {"requestId": ["1", "2"]}, 400, "repeated"),
        ("POST", f"{ZONE}/disks", {**DISK, "sizeGb": -1}, {}, 400, "sizeGb"),
        ("POST", f"{ZONE}/disks", {**DISK, "sizeGb": {}}, {}, 400, "sizeGb"),
        ("POST", f"{ZONE}/disks", {**DISK, "sizeGb": str(2**64)}, {}, 400, "sizeGb"),
        ("POST", f"{ZONE}/disks", {**DISK, "sizeGb": "5"}, {}, 400, "at least that of the image"),
        ("POST", f"{ZONE}/disks", {**DISK, "sourceImage": "global/images/none"}, {}, 404, "none' was not found"),
        ("POST", f"{ZONE}/disks", {**DISK, "labels": {"A": "b"}}, {}, 400, "lower case"),
        ("POST", f"{ZONE}/disks", {**DISK, "labels": {"a": 2026}}, {}, 400, "not of type 'string'"),
        ("POST", f"{ZONE}/disks", {**DISK, "labels": {"a": True}}, {}, 400, "not of type 'string'"),
        (
            "POST",
            "regions/us-central1/addresses",
            {"name": "ip", "addressType": "INTERNAL", "networkTier": "PREMIUM"},
            {},
            400,
            "type INTERNAL",
        ),
        (
            "POST",
            "global/images/own/setLabels",
            {"labels": {}},
            {"requestId": str(uuid.uuid4())},
            400,
            'Unknown name "requestId"',
        ),
        ("POST", "global/firewalls", {**RULE, "disabled": "false"}, {}, 400, "not of type 'boolean'"),
        ("POST", f"{ZONE}/instances", VM, {}, 404, "networks/net' was not found"),
        (
            "POST",
            f"{ZONE}/instances",
            {**VM, "minCpuPlatform": "Intel Pentium"},
            {},
            400,
            "unavailable in requested zone. Valid options for this zone are: Intel Sandy Bridge",
        ),
        (
            "POST",
            f"{ZONE}/instances",
            {**VM, "minCpuPlatform": "Intel Ice Lake"},
            {},
            400,
            "not supported for the selected machine type e2-medium",
        ),
        (
            "POST",
            f"{ZONE}/instances",
            {**VM, "machineType": f"{ZONE}/machineTypes/n2-standard-2", "minCpuPlatform": "Intel Skylake"},
            {},
            400,
            "required CPU platform of cascadelake. The minimum CPU platform must match this, but was skylake",
        ),
    ],
)
def test_a_wrong_request_is_refused(
    ask: Ask, make: Callable[..., dict], verb: str, path: str, body: Any, query: dict, status: int, message: str
) -> None:
    if path == f"{ZONE}/instances":
        make("POST", f"{ZONE}/disks", DISK)
    answer = ask(verb, path, body, **query)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("verb", "path", "body", "query", "status", "message"),
    [
        ("POST", f"{ZONE}/instances", VM, {}, 409, "already exists"),
        ("POST", f"{ZONE}/instances", {**VM, "name": "vm2"}, {}, 400, "already being used"),
        ("POST", f"{ZONE}/instances/vm/setTags", {"items": ["a"]}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setTags", {"items": ["a"], "fingerprint": "b2xk"}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setTags", {"items": ["A"], "fingerprint": "b2xk"}, {}, 400, "does not match"),
        ("POST", f"{ZONE}/instances/vm/setMetadata", {"items": []}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setLabels", {"labels": {}}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/disks/vm/setLabels", {"labels": {}}, {}, 412, "fingerprint"),
        ("POST", f"{ZONE}/instances/vm/setMachineType", {"machineType": "x"}, {}, 400, "must be stopped"),
        (
            "POST",
            f"{ZONE}/instances/vm/setMinCpuPlatform",
            {"minCpuPlatform": "Intel Ice Lake"},
            {},
            400,
            "must be stopped",
        ),
        ("PATCH", f"{ZONE}/instances/vm/updateShieldedInstanceConfig", {}, {}, 400, "must be stopped"),
        ("POST", f"{ZONE}/instances/vm/start", None, {}, 400, "must be stopped"),
        ("POST", f"{ZONE}/disks/vm/resize", {"sizeGb": "5"}, {}, 400, "must be larger"),
        ("DELETE", f"{ZONE}/disks/vm", None, {}, 400, "already being used"),
        ("DELETE", "global/networks/net", None, {}, 400, "already being used"),
        (
            "POST",
            f"{ZONE}/instances/vm/addAccessConfig",
            {"natIP": "203.0.113.77"},
            {"networkInterface": "nic0"},
            400,
            "was not found",
        ),
        ("POST", f"{ZONE}/instances/vm/addAccessConfig", {}, {}, 400, "'networkInterface' not specified"),
    ],
)
def test_a_wrong_change_is_refused(
    ask: Ask, vm: None, verb: str, path: str, body: Any, query: dict, status: int, message: str
) -> None:
    answer = ask(verb, path, body, **query)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


def test_a_rule_keeps_its_network_and_put_replaces_all(ask: Ask, make: Callable[..., dict]) -> None:
    make("POST", "global/networks", NET)
    make("POST", "global/networks", {**NET, "name": "other"})
    make("POST", "global/firewalls", {**RULE, "sourceTags": ["a"], "description": "x"})
    moved = ask("PUT", "global/firewalls/rule", {**RULE, "network": "global/networks/other"})
    assert (moved.status_code, "cannot be updated" in moved.text) == (400, True)

    make("PATCH", "global/firewalls/rule", {"name": "rule", "priority": 5})
    patched = ask("GET", "global/firewalls/rule").json()
    assert (patched["priority"], patched["description"], patched["sourceTags"]) == (5, "x", ["a"])
    make("PUT", "global/firewalls/rule", RULE)
    replaced = ask("GET", "global/firewalls/rule").json()
    assert (replaced["priority"], replaced.get("description"), replaced["sourceRanges"]) == (1000, None, ["0.0.0.0/0"])


def test_google_fills_in_whom_a_rule_is_for_and_spells_protocols(ask: Ask, make: Callable[..., dict]) -> None:
    make("POST", "global/networks", NET)
    make("POST", "global/firewalls", {**RULE, "allowed": [{"IPProtocol": "TCP"}]})
    ingress = ask("GET", "global/firewalls/rule").json()
    assert (ingress["sourceRanges"], ingress["allowed"]) == (["0.0.0.0/0"], [{"IPProtocol": "tcp"}])
    make("POST", "global/firewalls", {**RULE, "name": "out", "direction": "EGRESS"})
    egress = ask("GET", "global/firewalls/out").json()
    assert (egress.get("sourceRanges"), egress["destinationRanges"]) == (None, ["0.0.0.0/0"])


def test_an_address_is_used_in_its_own_tier(ask: Ask, make: Callable[..., dict], vm: None) -> None:
    make("POST", "regions/us-central1/addresses", {"name": "ip", "networkTier": "STANDARD"})
    address = ask("GET", "regions/us-central1/addresses/ip").json()["address"]
    add, nic = f"{ZONE}/instances/vm/addAccessConfig", {"networkInterface": "nic0"}
    assert ask("POST", add, {"natIP": address}, **nic).status_code == 400
    assert ask("POST", add, {"natIP": address, "networkTier": "STANDARD"}, **nic).status_code == 200


def test_what_is_suspended_is_resumed_and_not_started(
    ask: Ask, make: Callable[..., dict], compute: Compute, vm: None
) -> None:
    assert ask("POST", f"{ZONE}/instances/vm/resume", None).status_code == 400
    compute.resources[f"projects/demo-project/{ZONE}/instances/vm"]["status"] = "SUSPENDED"
    assert ask("POST", f"{ZONE}/instances/vm/start").status_code == 400
    make("POST", f"{ZONE}/instances/vm/resume", None)
    assert ask("GET", f"{ZONE}/instances/vm").json()["status"] == "RUNNING"


def test_a_type_that_requires_a_platform_says_so_and_goes_only_without_it(
    ask: Ask, make: Callable[..., dict], vm: None
) -> None:
    def platform() -> str | None:
        return ask("GET", f"{ZONE}/instances/vm").json().get("minCpuPlatform")

    def set_type(name: str) -> requests.Response:
        body = {"machineType": f"{ZONE}/machineTypes/{name}"}
        return ask("POST", f"{ZONE}/instances/vm/setMachineType", body)

    assert platform() is None
    make("POST", f"{ZONE}/instances/vm/stop")
    make("POST", f"{ZONE}/instances/vm/setMachineType", {"machineType": f"{ZONE}/machineTypes/n2-standard-2"})
    assert platform() is None
    make("POST", f"{ZONE}/instances/vm/start")
    assert platform() == "Intel Cascade Lake"

    make("POST", f"{ZONE}/instances/vm/stop")
    refused = set_type("e2-medium")
    assert (refused.status_code, "not supported" in refused.text) == (400, True)
    assert ask("POST", f"{ZONE}/instances/vm/setMinCpuPlatform", {"minCpuPlatform": ""}).status_code == 400
    make("POST", f"{ZONE}/instances/vm/setMinCpuPlatform", {"minCpuPlatform": "AUTOMATIC"})
    assert platform() is None
    assert set_type("e2-medium").status_code == 200


def test_a_machine_boots_from_a_disk_for_its_own_processor(ask: Ask, make: Callable[..., dict]) -> None:
    make("POST", "global/networks", NET)
    arm = {"sourceImage": "projects/debian-cloud/global/images/family/debian-12-arm64"}
    make("POST", f"{ZONE}/disks", {**DISK, **arm})
    refused = ask("POST", f"{ZONE}/instances", VM)
    assert (refused.status_code, "the disk is for ARM64" in refused.text) == (400, True)
    altra = {"machineType": f"{ZONE}/machineTypes/t2a-standard-1"}
    assert ask("POST", f"{ZONE}/instances", {**VM, **altra}).status_code == 200


def test_the_same_request_is_carried_out_once(ask: Ask, compute: Compute) -> None:
    request = {"requestId": str(uuid.uuid4())}
    first, second = (ask("POST", "global/networks", NET, **request).json()["name"] for _ in range(2))
    assert first == second
    assert ask("POST", "global/networks", NET).status_code == 409


def test_what_is_stopped_loses_its_ephemeral_address(make: Callable[..., dict], ask: Ask, vm: None) -> None:
    make("POST", f"{ZONE}/instances/vm/addAccessConfig", {}, networkInterface="nic0")
    (config,) = ask("GET", f"{ZONE}/instances/vm").json()["networkInterfaces"][0]["accessConfigs"]
    assert config["natIP"].startswith("203.0.113.")
    make("POST", f"{ZONE}/instances/vm/stop")
    (config,) = ask("GET", f"{ZONE}/instances/vm").json()["networkInterfaces"][0]["accessConfigs"]
    assert "natIP" not in config


def test_only_google_is_behind_the_door(door: Door, ask: Ask) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://example.com/", timeout=10)
    without = requests.get(f"{BASE}/global/networks", timeout=10)
    assert (without.status_code, without.json()["error"]["errors"][0]["reason"]) == (401, "authError")


FILTERS = {
    "": ["a", "b"],
    "name = a": ["a"],
    'name != "a"': ["b"],
    "name eq [ab]": ["a", "b"],
    "name ne a.*": ["b"],
    "(name eq .*) (name ne b)": ["a"],
    "name eq ": None,
    "name = a OR name = b": ["a", "b"],
    "(name = a) OR (name = b) AND (autoCreateSubnetworks = true)": ["a", "b"],
    "(name = a) (autoCreateSubnetworks = false)": [],
    "name = a AND autoCreateSubnetworks = true": ["a"],
    "name:*": ["a", "b"],
    "routingConfig.routingMode = REGIONAL": ["a", "b"],
    "labels.a:*": None,
    "colour = red": None,
    "name = a name = b": None,
    "name = a AND": None,
    "AND name = a": None,
    "(name = a": None,
    "(name = a) (name eq b)": None,
    "name eq [": None,
}


@pytest.mark.parametrize(("text", "found"), FILTERS.items(), ids=FILTERS)
def test_filters(ask: Ask, compute: Compute, text: str, found: list[str] | None) -> None:
    for name in ("a", "b"):
        routing = {"routingConfig": {"routingMode": "REGIONAL"}}
        compute.add(f"projects/demo-project/global/networks/{name}", {"autoCreateSubnetworks": True, **routing})
    answer = ask("GET", "global/networks", filter=text)
    if found is None:
        assert (answer.status_code, "Invalid list filter" in answer.text) == (400, True)
    else:
        assert [network["name"] for network in answer.json().get("items", [])] == found


def test_lists_come_in_pages_and_a_token_is_for_one_list(ask: Ask, compute: Compute) -> None:
    compute.page_size = 2
    names, token = [], {}
    while token is not None:
        page = ask("GET", f"{ZONE}/machineTypes", filter="isSharedCpu = true", **token).json()
        assert len(page["items"]) <= 2
        names += [item["name"] for item in page["items"]]
        token = {"pageToken": page["nextPageToken"]} if "nextPageToken" in page else None
        if token:
            assert ask("GET", f"{ZONE}/machineTypes", **token).status_code == 400, "without the filter"
    assert names == ["e2-medium", "e2-micro", "e2-small", "g1-small"]


@pytest.mark.parametrize(
    ("verb", "path", "body", "query"),
    [
        ("GET", "global/backendServices", None, {}),
        ("GET", "regions/us-central1/subnetworks/net", None, {}),
        ("GET", "global/networks", None, {"fields": "items"}),
        ("GET", "global/networks", None, {"alt": "media"}),
        ("POST", "global/networks", {**NET, "enableUlaInternalIpv6": True}, {}),
        ("POST", f"{ZONE}/disks", {"name": "empty", "sizeGb": 10}, {}),
    ],
)
def test_what_is_not_built_is_loud(
    ask: Ask, compute: Compute, verb: str, path: str, body: Any, query: dict[str, str]
) -> None:
    assert ask(verb, path, body, **query).status_code == 500
    assert "NotImplementedError" in compute.bugs.pop()
    assert compute.bugs == []


def test_an_answer_that_google_could_not_give_is_a_bug(ask: Ask, compute: Compute) -> None:
    compute.add("projects/demo-project/global/networks/net", {"colour": "red"})
    assert ask("GET", "global/networks/net").status_code == 500
    assert "colour" in compute.bugs.pop()


def test_only_methods_of_the_api_can_fail(compute: Compute) -> None:
    with pytest.raises(ValueError, match="no method of the API"):
        compute.fail("compute.network.insert", failures.PERMISSION)


def test_a_fault_says_what_was_asked_for(ask: Ask, compute: Compute) -> None:
    compute.fail("compute.instances.insert", failures.PERMISSION, times=1)
    error = ask("POST", f"{ZONE}/instances", VM).json()["error"]
    said = f"Required 'compute.instances.create' permission for 'projects/demo-project/{ZONE}/instances/vm'"
    assert error == {
        "code": 403,
        "message": said,
        "errors": [{"message": said, "domain": "global", "reason": "forbidden"}],
    }


def test_a_list_is_of_the_project(ask: Ask, compute: Compute) -> None:
    compute.fail("compute.instances.aggregatedList", failures.PERMISSION, times=1)
    said = ask("GET", "aggregated/instances").json()["error"]["message"]
    assert said == "Required 'compute.instances.list' permission for 'projects/demo-project'"


def test_an_operation_fails_with_google_s_words(make: Callable[..., dict], ask: Ask, compute: Compute) -> None:
    compute.fail("compute.networks.insert", failures.QUOTA, times=1)
    operation = make("POST", "global/networks", NET)
    assert (operation["status"], operation["error"]["errors"][0]["code"]) == ("DONE", "QUOTA_EXCEEDED")
    assert (operation["httpErrorStatusCode"], operation["httpErrorMessage"]) == (403, "FORBIDDEN")
    assert ask("GET", "global/networks/net").status_code == 404


def test_an_operation_without_end_ends_as_it_would_have(ask: Ask, compute: Compute) -> None:
    compute.wait_seconds = 0.05
    compute.fail("compute.addresses.insert", failures.ENDLESS, times=1)
    name = ask("POST", "regions/us-central1/addresses", {"name": "ip"}).json()["name"]
    wait = f"regions/us-central1/operations/{name}/wait"
    assert ask("POST", wait).json()["status"] == "RUNNING"
    compute.heal()
    compute.wait_seconds = 5
    assert ask("POST", wait).json()["status"] == "DONE"
    assert ask("GET", "regions/us-central1/addresses/ip").json()["status"] == "RESERVED"


def test_a_lost_answer_is_to_something_done(ask: Ask, compute: Compute) -> None:
    compute.fail("compute.networks.insert", failures.ANSWER_LOST, times=1)
    request = {"requestId": str(uuid.uuid4())}
    with pytest.raises(requests.ConnectionError):
        ask("POST", "global/networks", NET, **request)
    assert ask("POST", "global/networks", NET, **request).status_code == 200
    assert ask("POST", "global/networks", NET).status_code == 409


def test_a_static_address_is_used_once_and_outlives_its_instance(make: Callable[..., dict], ask: Ask, vm: None) -> None:
    make("POST", "regions/us-central1/addresses", {"name": "ip"})
    address = ask("GET", "regions/us-central1/addresses/ip").json()["address"]
    make("POST", f"{ZONE}/instances/vm/addAccessConfig", {"natIP": address}, networkInterface="nic0")
    used = ask("GET", "regions/us-central1/addresses/ip").json()
    assert (used["status"], len(used["users"])) == ("IN_USE", 1)
    refused = ask("DELETE", "regions/us-central1/addresses/ip").json()["error"]["errors"][0]
    assert refused["reason"] == "resourceInUseByAnotherResource"
    make("DELETE", f"{ZONE}/instances/vm")
    assert ask("GET", "regions/us-central1/addresses/ip").json()["status"] == "RESERVED"
    assert ask("GET", f"{ZONE}/disks/vm").json().get("users") is None


def test_a_disk_of_its_own_comes_and_goes_with_an_instance(make: Callable[..., dict], ask: Ask) -> None:
    params = {"sourceImage": DISK["sourceImage"], "diskType": f"{ZONE}/diskTypes/pd-ssd", "diskSizeGb": 20}
    body = {**VM, "disks": [{"boot": True, "autoDelete": True, "initializeParams": params}]}
    assert ask("POST", f"{ZONE}/instances", body).status_code == 404, "there is no network yet"
    assert ask("GET", f"{ZONE}/disks/vm").status_code == 404, "a refused instance leaves no disk"
    make("POST", "global/networks", NET)
    make("POST", f"{ZONE}/instances", body)
    disk = ask("GET", f"{ZONE}/disks/vm").json()
    assert (disk["type"].rpartition("/")[2], disk["sizeGb"], disk["status"]) == ("pd-ssd", "20", "READY")
    assert "initializeParams" not in ask("GET", f"{ZONE}/instances/vm").json()["disks"][0]
    make("DELETE", f"{ZONE}/instances/vm")
    assert ask("GET", f"{ZONE}/disks/vm").status_code == 404


def test_what_is_stopped_can_be_changed_and_stopped_again(make: Callable[..., dict], ask: Ask, vm: None) -> None:
    for _ in range(2):
        assert "error" not in make("POST", f"{ZONE}/instances/vm/stop")
    assert ask("POST", f"{ZONE}/instances/vm/reset").status_code == 400
    make("POST", f"{ZONE}/instances/vm/setScheduling", {"automaticRestart": False})
    scheduling = ask("GET", f"{ZONE}/instances/vm").json()["scheduling"]
    assert (scheduling["automaticRestart"], scheduling["provisioningModel"]) == (False, "STANDARD")
    spot = {"provisioningModel": "SPOT"}
    assert ask("POST", f"{ZONE}/instances/vm/setScheduling", spot).status_code == 400


def test_what_is_protected_stays(make: Callable[..., dict], ask: Ask, vm: None) -> None:
    make("POST", f"{ZONE}/instances/vm/setDeletionProtection", deletionProtection="true")
    assert "protected against deletion" in ask("DELETE", f"{ZONE}/instances/vm").text


def test_empty_labels_are_shown_and_empty_lists_are_not(make: Callable[..., dict], ask: Ask) -> None:
    assert "items" not in ask("GET", f"{ZONE}/disks").json()
    make("POST", f"{ZONE}/disks", {**DISK, "labels": {"a": ""}})
    assert ask("GET", f"{ZONE}/disks/vm").json()["labels"] == {"a": ""}


def test_host_keys_only_where_they_are_enabled(make: Callable[..., dict], ask: Ask, vm: None) -> None:
    path = f"{ZONE}/instances/vm/getGuestAttributes"
    assert ask("GET", path, queryPath="hostkeys/").status_code == 404
    mark = ask("GET", f"{ZONE}/instances/vm").json()["metadata"]["fingerprint"]
    items = [{"key": "enable-guest-attributes", "value": "TRUE"}]
    make("POST", f"{ZONE}/instances/vm/setMetadata", {"items": items, "fingerprint": mark})
    (found,) = ask("GET", path, queryPath="hostkeys/").json()["queryValue"]["items"]
    assert (found["namespace"], found["key"]) == ("hostkeys", "ssh-ed25519")


def test_images_come_from_families(make: Callable[..., dict], ask: Ask, compute: Compute) -> None:
    compute.add("projects/demo-project/global/images/own-1", {"family": "own", "diskSizeGb": "15", "status": "READY"})
    assert ask("GET", "global/images/family/own").json()["name"] == "own-1"
    assert ask("GET", "global/images/family/none").status_code == 404
    make("POST", f"{ZONE}/disks", {"name": "d", "sourceImage": "global/images/family/own"})
    disk = ask("GET", f"{ZONE}/disks/d").json()
    assert (disk["sizeGb"], disk["sourceImage"].rpartition("/")[2]) == ("15", "own-1")


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "EGRESS", "sourceRanges": ["10.0.0.0/8"]},
        {"sourceRanges": ["10.0.0.1/8"]},
        {"sourceRanges": ["10.0.0.0/8", "2001:db8::/32"]},
        {"sourceTags": ["a"], "targetServiceAccounts": ["x@demo-project.iam.gserviceaccount.com"]},
        {"allowed": [{"IPProtocol": "icmp", "ports": ["1"]}]},
        {"allowed": [{"IPProtocol": "http"}]},
        {"allowed": [{"IPProtocol": "tcp", "ports": ["70000"]}]},
        {"denied": [{"IPProtocol": "tcp"}]},
        {"priority": 65536},
        {"targetTags": ["Upper"]},
    ],
    ids=str,
)
def test_a_wrong_rule_is_refused(ask: Ask, compute: Compute, change: dict[str, Any]) -> None:
    compute.add("projects/demo-project/global/networks/net", {"autoCreateSubnetworks": True})
    assert ask("POST", "global/firewalls", {**RULE, **change}).status_code == 400


def test_a_token_is_for_a_right_assertion_and_for_its_time(door: Door, ask: Ask) -> None:
    def session(scope: str) -> AuthorizedSession:
        key = door.service_account_file()
        return AuthorizedSession(service_account.Credentials.from_service_account_file(key, scopes=[scope]))

    with session("https://www.googleapis.com/auth/cloud-platform") as logged_in:
        assert logged_in.get(f"{BASE}/global/networks", timeout=10).status_code == 200
    assert ask("GET", "global/networks").status_code == 200
    door.expired = True
    assert ask("GET", "global/networks").status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "https://example.com/token"},
        {"iss": "other@demo-project.iam.gserviceaccount.com"},
        {"scope": "https://www.googleapis.com/auth/compute.readonly"},
        {"exp": 2},
    ],
    ids=str,
)
def test_no_token_for_a_wrong_assertion(door: Door, ask: Ask, wrong: dict[str, Any]) -> None:
    signer = crypt.RSASigner.from_service_account_file(door.service_account_file())
    right = {"aud": TOKEN_URL, "iss": ACCOUNT, "scope": "https://www.googleapis.com/auth/compute"}
    times = {"iat": int(time.time()), "exp": int(time.time()) + 600}

    def asked(claims: dict[str, Any]) -> requests.Response:
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        form = {"grant_type": grant, "assertion": jwt.encode(signer, claims).decode()}
        return requests.post(TOKEN_URL, data=form, timeout=10)

    assert asked({**right, **times}).status_code == 200
    refused = asked({**right, **times, **wrong})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_required_fields_are_those_of_the_method() -> None:
    method = discovery.find("POST", "projects/demo-project/global/networks")
    assert method is not None
    with pytest.raises(discovery.InvalidRequestError, match="'name' is a required property"):
        discovery.check_body(method, {})
