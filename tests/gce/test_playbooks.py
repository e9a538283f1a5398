"""gce.yml, teardown.yml and the inventory against the stand-in, with machines on paper.

What is marked long runs in `make gce-rehearsal` only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gce import failures
from tests.gce.compute import Compute
from tests.gce.door import Door
from tests.gce.user import User
from tests.lab import PlaybookRun

long = pytest.mark.long
# The machines can't be logged in to. Only an inventory that has a localhost can be limited to it.
ON_PAPER = ("-i", "localhost,", "--limit", "localhost")
NETWORK = "projects/demo-project/global/networks/barevision"


@pytest.fixture
def user(door: Door, tmp_path: Path) -> User:
    """Somebody with a login to the stand-in."""
    return User(door, tmp_path)


@pytest.fixture
def gce(user: User) -> Callable[..., PlaybookRun]:
    """Runs gce.yml."""

    def run(*arguments: str, **variables: Any) -> PlaybookRun:
        return user.playbook("playbooks/gce.yml", *ON_PAPER, *arguments, **variables)

    return run


def teardown(user: User, *arguments: str) -> PlaybookRun:
    return user.playbook("playbooks/teardown.yml", *ON_PAPER, *arguments)


def words(failure: pytest.ExceptionInfo[AssertionError]) -> str:
    """What was said, without line breaks."""
    return " ".join(str(failure.value).split())


def what_is_left(compute: Compute) -> list[str]:
    return sorted(path for path in compute.resources if "/operations/" not in path)


def test_from_nothing_to_a_machine_and_back(compute: Compute, user: User, gce: Callable[..., PlaybookRun]) -> None:
    dry = gce("--check", "--diff")
    assert dry.changed > 0
    assert what_is_left(compute) == [], "check mode made something"
    for name in ("networks/barevision", "firewalls/barevision-ssh", "disks/barevision-1", "instances/barevision-1"):
        assert f"+++ after: {name}" in dry.output.replace("global/", "").replace("zones/us-central1-a/", "")

    gce()
    assert len(compute.changes) == 8
    assert user.known_hosts.read_text().startswith("compute.")
    assert gce().changed == 0
    assert gce("--check", "--diff").changed == 0
    assert len(compute.changes) == 8

    dry = teardown(user, "--check")
    assert "zones/us-central1-a/instances/barevision-1" in dry.output
    with pytest.raises(AssertionError) as failure:
        teardown(user)
    assert "Nothing was removed" in words(failure)
    assert len(what_is_left(compute)) == 7

    assert "Nothing of barevision is left in demo-project" in teardown(user, "-e", "yes=true").output
    assert what_is_left(compute) == []
    assert teardown(user, "-e", "yes=true").changed == 0


Change = tuple[dict[str, Any], dict[str, Any], list[str]]
HTTP = ["PUT firewalls/barevision-http", "PUT firewalls/barevision-https"]
ONE = "instances/barevision-1"
RESERVED = ["POST addresses", "POST addresses/barevision-1/setLabels"]
CHANGES: dict[str, Change] = {
    "source range added": ({}, {"gce_instance_http_sources": ["0.0.0.0/0", "192.0.2.0/24"]}, HTTP),
    "source range removed": ({"gce_instance_http_sources": ["0.0.0.0/0", "192.0.2.0/24"]}, {}, HTTP),
    "source range narrowed": ({}, {"gce_instance_http_sources": ["192.0.2.0/24"]}, HTTP),
    "port added": ({}, {"gce_instance_flask_sources": ["192.0.2.0/24"]}, ["POST firewalls"]),
    "port removed": ({"gce_instance_flask_sources": ["192.0.2.0/24"]}, {}, ["DELETE firewalls/barevision-flask"]),
    "tag added": ({}, {"gce_instance_tags": ["more"]}, [f"POST {ONE}/setTags"]),
    "tag removed": ({"gce_instance_tags": ["more"]}, {}, [f"POST {ONE}/setTags"]),
    "label added": (
        {},
        {"gce_instance_labels": {"team": "a"}},
        [f"POST {kind}/barevision-1/setLabels" for kind in ("addresses", "disks", "instances")],
    ),
    "label removed": (
        {"gce_instance_labels": {"team": "a"}},
        {},
        [f"POST {kind}/barevision-1/setLabels" for kind in ("addresses", "disks", "instances")],
    ),
    "metadata key added": ({}, {"gce_instance_metadata": {"a": "1"}}, [f"POST {ONE}/setMetadata"]),
    "metadata key removed": ({"gce_instance_metadata": {"a": "1"}}, {}, [f"POST {ONE}/setMetadata"]),
    "machine type": (
        {},
        {"gce_instance_machine_type": "g1-small", "gce_instance_may_stop": True},
        [f"POST {ONE}/stop", f"POST {ONE}/setMachineType", f"POST {ONE}/start"],
    ),
    "disk size": ({}, {"gce_instance_disk_gb": 30}, ["POST disks/barevision-1/resize"]),
    "a machine more": (
        {},
        {"gce_instance_count": 2},
        ["POST addresses", "POST addresses/barevision-2/setLabels", "POST disks", "POST instances"],
    ),
    "a machine fewer": (
        {"gce_instance_count": 2},
        {},
        ["DELETE instances/barevision-2", "DELETE addresses/barevision-2"],
    ),
    "address made ephemeral": (
        {},
        {"gce_instance_address": "ephemeral"},
        [f"POST {ONE}/deleteAccessConfig", f"POST {ONE}/addAccessConfig", "DELETE addresses/barevision-1"],
    ),
    "address made static": (
        {"gce_instance_address": "ephemeral"},
        {},
        [*RESERVED, f"POST {ONE}/deleteAccessConfig", f"POST {ONE}/addAccessConfig"],
    ),
    "address removed": (
        {},
        {"gce_instance_address": "none"},
        [f"POST {ONE}/deleteAccessConfig", "DELETE addresses/barevision-1"],
    ),
    "address added": ({"gce_instance_address": "none"}, {}, [*RESERVED, f"POST {ONE}/addAccessConfig"]),
    "OS Login": ({}, {"gce_instance_os_login": True}, [f"POST {ONE}/setMetadata"]),
}
QUICK = ("address made ephemeral",)


@pytest.mark.parametrize(
    ("old", "new", "calls"),
    [pytest.param(*change, id=name, marks=[] if name in QUICK else long) for name, change in CHANGES.items()],
)
def test_a_changed_variable_is_a_changed_resource(
    compute: Compute, gce: Callable[..., PlaybookRun], old: dict, new: dict, calls: list[str]
) -> None:
    gce(**old)
    before = len(compute.changes)

    dry = gce("--check", "--diff", **new)
    print(dry.output)
    assert dry.changed > 0
    assert len(compute.changes) == before, "check mode changed something"
    # A new machine's host keys are learned on top.
    assert gce("--diff", **new).changed >= dry.changed
    # A disk that went with its machine is asked for, and found gone.
    assert compute.changes[before:] == calls
    assert gce(**new).changed == 0


FAULTS = {
    "quota": (failures.QUOTA, "Use fewer or smaller machines or another region, or ask for more"),
    "stockout": (failures.STOCKOUT, "try again later, or another zone or machine type"),
    "permission": (failures.PERMISSION, "docs/gce.md lists the roles"),
    "429": (failures.RATE_LIMIT, "Google limits the number of requests a minute"),
    "503": (failures.UNAVAILABLE, "A failure at Google: run again"),
}
STEPS = {
    "look": "instances.aggregatedList",
    "network": "networks.insert",
    "rules": "firewalls.insert",
    "address": "addresses.insert",
    "address's label": "addresses.setLabels",
    "disk": "disks.insert",
    "instance": "instances.insert",
    "host keys": "instances.getGuestAttributes",
}
QUICK_FAILURES = {("instance", "stockout")}


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        pytest.param(step, fault, marks=[] if (step, fault) in QUICK_FAILURES else long)
        for step in STEPS
        for fault in FAULTS
        # Reading is no operation.
        if not (FAULTS[fault][0].in_operation and step in ("look", "host keys"))
    ],
)
def test_a_failure_is_clear_and_the_next_run_converges(
    compute: Compute, gce: Callable[..., PlaybookRun], step: str, fault: str
) -> None:
    failure, way_out = FAULTS[fault]
    compute.fail(f"compute.{STEPS[step]}", failure)
    with pytest.raises(AssertionError) as said:
        gce(gce_instance_timeout=6)
    assert way_out in words(said)
    assert "Traceback" not in words(said)

    compute.heal()
    gce()
    assert gce().changed == 0
    assert sum("/instances/" in path for path in what_is_left(compute)) == 1


@pytest.mark.parametrize("step", [pytest.param(step, marks=[] if step == "instance" else long) for step in STEPS])
def test_a_half_made_deployment_goes_without_a_trace(
    compute: Compute, user: User, gce: Callable[..., PlaybookRun], step: str
) -> None:
    compute.fail(f"compute.{STEPS[step]}", failures.PERMISSION)
    with pytest.raises(AssertionError):
        gce(gce_instance_timeout=6)
    compute.heal()
    teardown(user, "-e", "yes=true")
    assert what_is_left(compute) == []


@long
def test_a_teardown_that_fails_goes_on_next_time(compute: Compute, user: User, gce: Callable[..., PlaybookRun]) -> None:
    gce(gce_instance_count=2)
    compute.add("projects/demo-project/global/snapshots/s", {"labels": {"barevision": "barevision"}})
    compute.add("projects/demo-project/global/images/i", {"labels": {"barevision": "barevision"}})
    compute.add("projects/demo-project/global/images/other", {"labels": {"barevision": "other"}})
    compute.fail("compute.addresses.delete", failures.PERMISSION)
    with pytest.raises(AssertionError) as said:
        teardown(user, "-e", "yes=true")
    assert "docs/gce.md lists the roles" in words(said)
    compute.heal()
    teardown(user, "-e", "yes=true")
    assert what_is_left(compute) == ["projects/demo-project/global/images/other"]


@long
def test_a_protected_machine_is_not_removed(compute: Compute, user: User, gce: Callable[..., PlaybookRun]) -> None:
    gce()
    instance = compute.resources["projects/demo-project/zones/us-central1-a/instances/barevision-1"]
    instance["deletionProtection"] = True
    with pytest.raises(AssertionError) as said:
        teardown(user, "-e", "yes=true")
    assert "protected against deletion" in words(said)


REFUSALS = {
    "zone": ({"gce_instance_zone": "us-central1-b"}, "a machine can't move to zone us-central1-b"),
    "smaller disk": ({"gce_instance_disk_gb": 10}, "sizeGb is 20, not 10: a disk can only grow"),
    "other image": (
        {"gce_instance_image": "projects/debian-cloud/global/images/family/debian-13"},
        "the image is only read when the disk is made",
    ),
    "spot": ({"gce_instance_spot": True}, "whether an instance is a spot instance is decided when it is made"),
    "machine type": ({"gce_instance_machine_type": "e2-small"}, "Allow it with"),
    "no source": ({"gce_instance_ssh_sources": []}, "From where may ssh come"),
    "no network": ({"gce_instance_ssh_sources": ["203.0.113.7"]}, "['203.0.113.7'] are no networks"),
    "no key": ({"gce_instance_ssh_public_key": ""}, "No public ssh key"),
    "no such address": ({"gce_instance_address": "fixed"}, "must be one of: static, ephemeral, none"),
}


@long
@pytest.mark.parametrize(("new", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_is_refused_with_the_reason(
    compute: Compute, gce: Callable[..., PlaybookRun], new: dict, reason: str
) -> None:
    gce()
    before = len(compute.changes)
    for mode in (("--check",), ()):
        with pytest.raises(AssertionError) as said:
            gce(*mode, **new)
        assert reason in words(said)
    assert len(compute.changes) == before


def test_a_network_of_somebody_else_is_left_alone(
    compute: Compute, user: User, gce: Callable[..., PlaybookRun]
) -> None:
    subnetworks = ["https://www.googleapis.com/compute/v1/projects/demo-project/regions/us-central1/subnetworks/s"]
    compute.add(NETWORK, {"autoCreateSubnetworks": True, "subnetworks": subnetworks})
    with pytest.raises(AssertionError) as said:
        gce()
    assert "description is null, not Made by Barevision" in words(said)
    assert "Nothing of barevision is in demo-project" in teardown(user, "-e", "yes=true").output
    assert what_is_left(compute) == [NETWORK]


@pytest.fixture
def machine(compute: Compute) -> None:
    """A running machine of the deployment, and one of another."""
    for name, deployment in (("barevision-1", "barevision"), ("other-1", "other")):
        compute.add(
            f"projects/demo-project/zones/us-central1-a/instances/{name}",
            {
                "status": "RUNNING",
                "machineType": "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/machineTypes/e2-medium",
                "labels": {"barevision": deployment, "role": "detector", "team": "blue"},
                "networkInterfaces": [{"networkIP": "10.128.0.2", "accessConfigs": [{"natIP": "203.0.113.9"}]}],
            },
        )


def plain(value: dict) -> Any:
    """Without Ansible's mark of what came from outside and is never a template."""
    return value.get("__ansible_unsafe", value)


def test_the_inventory_lists_the_deployment_in_groups(user: User, machine: None) -> None:
    listed = json.loads(user.inventory().stdout, object_hook=plain)
    groups = {name for name, group in listed.items() if group.get("hosts") == ["barevision-1"]}
    assert groups == {
        *("barevision", "role_detector", "zone_us_central1_a"),
        *("label_barevision_barevision", "label_role_detector", "label_team_blue"),
    }
    variables = listed["_meta"]["hostvars"]["barevision-1"]
    assert variables["gce_external_address"] == "203.0.113.9"
    assert variables["gce_internal_address"] == "10.128.0.2"
    other = json.loads(user.inventory(BAREVISION_DEPLOYMENT="other").stdout)
    assert list(other["_meta"]["hostvars"]) == ["other-1"]


def test_a_service_account_lists_the_inventory(user: User, machine: None) -> None:
    listed = user.inventory(GCP_ACCESS_TOKEN="", GCP_SERVICE_ACCOUNT_FILE=str(user.door.service_account_file()))
    assert "barevision-1" in listed.stdout


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"GCP_PROJECT": ""}, "Which project?"),
        ({"GCP_PROJECT": "no-such-project"}, "'projects/no-such-project' was not found"),
        ({"GCP_ACCESS_TOKEN": "expired"}, "The login has expired"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, "Google can't be reached"),
        ({"GCP_ACCESS_TOKEN": "", "GCP_SERVICE_ACCOUNT_FILE": "/none.json"}, "/none.json can't be read"),
    ],
    ids=["no project", "unknown project", "expired", "unreachable", "no key"],
)
def test_what_is_no_inventory_is_an_error(user: User, machine: None, environment: dict, complaint: str) -> None:
    done = user.inventory(**environment)
    assert done.returncode != 0
    assert complaint in " ".join(done.stderr.split())
    assert user.door.environment["GCP_ACCESS_TOKEN"] not in done.stdout + done.stderr


def test_no_token_is_ever_shown(user: User, gce: Callable[..., PlaybookRun]) -> None:
    run = gce("-vvv", "--check")
    assert user.door.environment["GCP_ACCESS_TOKEN"] not in run.output
