"""gce.yml, teardown.yml and the inventory against the stand-in, with machines on paper."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gce.standin.compute import Compute
from tests.gce.user import User, words

NETWORK = "projects/demo-project/global/networks/barevision"


def test_from_nothing_to_a_machine_and_back(compute: Compute, user: User) -> None:
    dry = user.gce("--check", "--diff")
    assert dry.changed > 0
    assert compute.left == [], "check mode made something"
    for name in ("networks/barevision", "firewalls/barevision-ssh", "disks/barevision-1", "instances/barevision-1"):
        assert f"+++ after: {name}" in dry.output.replace("global/", "").replace("zones/us-central1-a/", "")

    user.gce()
    assert len(compute.changes) == 8
    assert user.known_hosts.read_text().startswith("compute.")
    assert user.gce().changed == 0
    assert user.gce("--check", "--diff").changed == 0
    assert len(compute.changes) == 8

    dry = user.teardown("--check")
    assert "zones/us-central1-a/instances/barevision-1" in dry.output
    with pytest.raises(AssertionError) as failure:
        user.teardown()
    assert "Nothing was removed" in words(failure)
    assert len(compute.left) == 7

    assert "Nothing of barevision is left in demo-project" in user.teardown("-e", "yes=true").output
    assert compute.left == []
    assert user.teardown("-e", "yes=true").changed == 0


def test_a_network_of_somebody_else_is_left_alone(compute: Compute, user: User) -> None:
    subnetworks = ["https://www.googleapis.com/compute/v1/projects/demo-project/regions/us-central1/subnetworks/s"]
    compute.add(NETWORK, {"autoCreateSubnetworks": True, "subnetworks": subnetworks})
    with pytest.raises(AssertionError) as said:
        user.gce()
    assert "description is null, not Made by Barevision" in words(said)
    assert "Nothing of barevision is in demo-project" in user.teardown("-e", "yes=true").output
    assert compute.left == [NETWORK]


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
def test_no_list_of_machines_is_an_error(user: User, machine: None, environment: dict, complaint: str) -> None:
    done = user.inventory(**environment)
    assert done.returncode != 0
    assert complaint in " ".join(done.stderr.split())
    assert user.door.environment["GCP_ACCESS_TOKEN"] not in done.stdout + done.stderr


def test_no_token_is_ever_shown(user: User) -> None:
    run = user.gce("-vvv", "--check")
    assert user.door.environment["GCP_ACCESS_TOKEN"] not in run.output
