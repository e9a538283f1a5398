"""gce.yml, teardown.yml and the inventory against the stand-in, with machines on paper."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.gce.standin import failures
from tests.gce.standin.compute import Compute
from tests.gce.user import User, words
from tests.roles.rendering import read_yaml
from tests.support.lab import REPOSITORY

PREFLIGHT = ("roles", "gce_instance", "tasks", "preflight.yml")
NETWORK = "projects/demo-project/global/networks/barevision"


def test_from_nothing_to_a_machine_and_back(compute: Compute, user: User) -> None:
    dry = user.gce("--check", "--diff")
    assert dry.changed > 0
    assert compute.left == [], "check mode made something"
    assert "Google chooses the processor of each e2-medium" in dry.output
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


@pytest.mark.parametrize(
    ("machine_type", "platform", "is_said"),
    [
        ("e2-medium", "", True),
        ("g1-small", "", True),
        ("f1-micro", "", True),
        ("n1-standard-2", "", True),
        ("custom-2-4096", "", True),
        ("n2d-standard-2", "", True),
        ("n1-standard-2", "Intel Skylake", False),
        ("n2-standard-2", "", False),
        ("n2-custom-2-4096", "", False),
        ("c3-standard-4", "", False),
        ("c4a-standard-1", "", False),
    ],
)
def test_a_processor_that_is_not_promised_is_told(machine_type: str, platform: str, is_said: bool) -> None:
    (note,) = (task for task in read_yaml(*PREFLIGHT) if "Google chooses the processor" in task["name"])
    variables = {"gce_instance_machine_type": machine_type, "gce_instance_min_cpu_platform": platform}
    templar = Templar(loader=DataLoader(), variables=variables)
    assert all(templar.evaluate_conditional(trust_as_template(condition)) for condition in note["when"]) == is_said
    assert machine_type in templar.template(trust_as_template(note["ansible.builtin.debug"]["msg"]))
    (title,) = re.findall(r'see "(.*?)"', note["ansible.builtin.debug"]["msg"])
    assert f"### {title}\n" in (REPOSITORY / "docs" / "gce.md").read_text("utf-8")


def test_a_network_of_somebody_else_is_left_alone(compute: Compute, user: User) -> None:
    subnetworks = ["https://www.googleapis.com/compute/v1/projects/demo-project/regions/us-central1/subnetworks/s"]
    compute.add(NETWORK, {"autoCreateSubnetworks": True, "subnetworks": subnetworks})
    with pytest.raises(AssertionError) as said:
        user.gce()
    assert "description is null, not Made by Barevision" in words(said)
    assert "Nothing of barevision is in demo-project" in user.teardown("-e", "yes=true").output
    assert compute.left == [NETWORK]


def test_a_copy_of_a_machine_is_left_alone(compute: Compute, user: User) -> None:
    user.gce(gce_instance_count=2)
    place = "projects/demo-project/zones/us-central1-a"
    original = compute.resources[f"{place}/instances/barevision-1"]
    # The console's "Create similar" copies the label and the description, "Add label" only the former.
    compute.add(
        f"{place}/instances/my-copy", {**original, "networkInterfaces": [{"networkIP": "10.128.0.9"}], "disks": []}
    )
    mark, labels = original["description"], {"barevision": "barevision"}
    compute.add(
        f"{place.replace('-a', '-b')}/disks/my-data", {"description": mark, "labels": labels, "status": "READY"}
    )
    compute.add("projects/demo-project/regions/europe-west1/addresses/barevision-7", {"labels": labels})

    before = compute.changes
    with pytest.raises(AssertionError) as said:
        user.gce()
    foreign = (
        "zones/us-central1-a/instances/my-copy, zones/us-central1-b/disks/my-data, "
        "regions/europe-west1/addresses/barevision-7"
    )
    assert (
        f"Left alone, because barevision did not make it, although it carries its label or its description: {foreign}"
        in words(said)
    )
    own = "zones/us-central1-a/instances/barevision-2, zones/us-central1-a/disks/barevision-2"
    assert f"no longer list {own}, regions/us-central1/addresses/barevision-2: this run would remove" in words(said)
    assert compute.changes == before

    run = user.gce(gce_instance_may_delete=True)
    assert foreign in " ".join(run.output.split())
    assert [call for call in compute.changes if call.startswith("DELETE")] == [
        "DELETE instances/barevision-2",
        "DELETE addresses/barevision-2",
    ]
    assert user.gce().changed == 0
    said_by_teardown = " ".join(user.teardown("--check").output.split())
    assert f"Made by somebody else, and only labelled with barevision: {foreign}" in said_by_teardown


def test_host_keys_that_never_come_are_told_with_the_way_in(
    compute: Compute, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute.machines, "host_keys", lambda _: {})
    with pytest.raises(AssertionError) as said:
        user.gce(gce_instance_timeout=2)
    assert "barevision-1 did not tell its ssh host keys within 2 seconds" in words(said)
    (title,) = set(re.findall(r'under "(.*?)"', words(said)))
    assert f"### {title}\n" in (REPOSITORY / "docs" / "gce.md").read_text("utf-8")
    monkeypatch.undo()
    user.gce()
    assert user.known_hosts.read_text().startswith("compute.")


def test_host_keys_that_may_not_be_read_are_asked_for_once(compute: Compute, user: User) -> None:
    compute.fail("compute.instances.getGuestAttributes", failures.PERMISSION)
    with pytest.raises(AssertionError) as said:
        user.gce()
    assert "docs/gce.md lists the roles" in words(said)
    assert sum("getGuestAttributes" in call.path for call in compute.calls) == 1


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
    other = json.loads(user.inventory(GCP_DEPLOYMENT="other").stdout)
    assert list(other["_meta"]["hostvars"]) == ["other-1"]


INCOMPLETE = {
    "a copy in the console": {"name": "my-copy"},
    "no labels but ours": {"labels": {"barevision": "barevision"}},
    "an empty role": {"labels": {"barevision": "barevision", "role": "", "empty": ""}},
    "no external address": {"networkInterfaces": [{"networkIP": "10.128.0.2"}]},
    "stopped": {"status": "TERMINATED", "networkInterfaces": [{"networkIP": "10.128.0.2", "accessConfigs": [{}]}]},
    "being made": {"status": "PROVISIONING", "networkInterfaces": [{}]},
    "no interface": {"networkInterfaces": []},
}


@pytest.mark.parametrize("fields", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_machine_that_lacks_something_is_listed(compute: Compute, user: User, machine: None, fields: dict) -> None:
    path = "projects/demo-project/zones/us-central1-a/instances/barevision-1"
    compute.resources[path].update(fields)
    is_deployed_to = not {"labels", "name"} & fields.keys()
    done = user.inventory()
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout, object_hook=plain)
    ((name, host),) = listed["_meta"]["hostvars"].items()
    assert name == fields.get("name", "barevision-1")
    assert ("barevision" in listed) == is_deployed_to
    assert host["gce_external_address"] == ("" if is_deployed_to else "203.0.113.9")


def test_a_machine_that_lost_its_role_gets_it_back_or_goes(compute: Compute, user: User) -> None:
    user.gce()
    instance = compute.resources["projects/demo-project/zones/us-central1-a/instances/barevision-1"]
    instance["labels"] = {"barevision": "barevision"}
    user.gce()
    assert instance["labels"] == {"barevision": "barevision", "role": "detector"}
    instance["labels"] = {"barevision": "barevision"}
    user.teardown("-e", "yes=true")
    assert compute.left == []


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
    said = " ".join(done.stderr.split())
    assert complaint in said
    # The last thing said before Ansible's own last word is the reason.
    assert said.rindex("Failed to parse inventory with 'gce' plugin") > said.rindex("plugin: Plugin configuration YAML")
    assert "---" not in said
    assert user.door.environment["GCP_ACCESS_TOKEN"] not in done.stdout + done.stderr


def test_no_token_is_ever_shown(user: User) -> None:
    run = user.gce("-vvv", "--check")
    assert user.door.environment["GCP_ACCESS_TOKEN"] not in run.output
