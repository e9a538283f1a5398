"""All that docs/gce.md says, on machines of this computer. The tests stand in that order.

Google's API is a stand-in, its instances are lab machines: they boot, their firewall drops, their keys log in. What is
marked long runs in `make gce-rehearsal` only.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from barevision.client import Client
from barevision.models.catalogue import find_source
from barevision.objects import differences
from tests.gce.standin.compute import Compute
from tests.gce.standin.door import opened
from tests.gce.standin.lab_machines import LabMachines
from tests.gce.user import User
from tests.support.lab import FIXED_PLAN, NEEDS_LAB, PlaybookRun

pytestmark = NEEDS_LAB
long = pytest.mark.long
GOLDEN = find_source("roadsigns").golden
PLACE = "projects/demo-project/zones/us-central1-a"


@dataclass(frozen=True)
class Rehearsal:
    """A project whose instances are machines, and its user."""

    compute: Compute
    machines: LabMachines
    user: User

    def gce(self, *arguments: str, **variables: Any) -> PlaybookRun:
        """Runs gce.yml."""
        return self.user.playbook("playbooks/gce.yml", *arguments, **variables)

    def site(self, *arguments: str) -> PlaybookRun:
        """Runs site.yml. The conda hosts can't be reached from the test machines."""
        return self.user.playbook("site.yml", *arguments, app_environment="venv", **FIXED_PLAN)

    def instance(self, name: str = "staging-1") -> dict:
        """The instance as Google has it."""
        (found,) = [instance for instance in self.compute.all("instances") if instance["name"] == name]
        return found

    def url(self, name: str = "staging-1") -> str:
        """Where its service answers: at its external address."""
        return f"http://{self.instance(name)['networkInterfaces'][0]['accessConfigs'][0]['natIP']}"

    def assert_predicts(self, name: str = "staging-1") -> None:
        """Asks for a prediction, from outside."""
        assert differences(GOLDEN.expected, Client(self.url(name), retries=0).predict(GOLDEN.picture)) == []


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """An empty project. Afterwards no machine may be left, and nothing may have happened that Google doesn't know."""
    folder = tmp_path_factory.mktemp("rehearsal")
    machines = LabMachines(folder)
    compute = Compute(machines, operation_seconds=0.2)
    try:
        with opened(compute, folder) as door:
            # The deployment's name is exported for every command, as docs/gce.md has it, site.yml among them.
            exported = {"GCP_DEPLOYMENT": "staging"}
            yield Rehearsal(compute, machines, User(door, folder, (f"{machines.source}/32",), exported))
    finally:
        machines.close()
    assert machines.traces() == []
    assert compute.bugs == []


def test_a_dry_run_makes_nothing(rehearsal: Rehearsal) -> None:
    assert rehearsal.gce("--check", "--diff").changed > 0
    assert rehearsal.compute.changes == []


def test_one_run_makes_a_machine_that_is_ready(rehearsal: Rehearsal) -> None:
    run = rehearsal.gce()
    assert run.recap["staging-1"]["unreachable"] == 0
    assert rehearsal.instance()["status"] == "RUNNING"
    assert rehearsal.url() == f"http://{rehearsal.machines.external_network[1]}"


def test_the_service_is_deployed_and_predicts(rehearsal: Rehearsal) -> None:
    rehearsal.site()
    rehearsal.assert_predicts()


def test_second_runs_change_nothing(rehearsal: Rehearsal) -> None:
    calls = len(rehearsal.compute.changes)
    assert rehearsal.gce().changed == 0
    assert rehearsal.site().changed == 0
    assert rehearsal.gce("--check", "--diff").changed == 0
    assert len(rehearsal.compute.changes) == calls


def test_a_narrower_rule_closes_the_port(rehearsal: Rehearsal) -> None:
    rehearsal.gce(gce_instance_http_sources=["198.51.100.0/24"])
    with pytest.raises(requests.ConnectTimeout):
        requests.get(f"{rehearsal.url()}/healthz", timeout=1)
    rehearsal.gce(gce_instance_http_sources=["198.51.100.0/24", f"{rehearsal.machines.source}/32"])
    rehearsal.assert_predicts()


@long
def test_tags_labels_and_metadata_change_on_the_running_machine(rehearsal: Rehearsal) -> None:
    more = {"gce_instance_tags": ["more"], "gce_instance_labels": {"team": "blue"}, "gce_instance_metadata": {"a": "1"}}
    rehearsal.gce(**more)
    assert rehearsal.instance()["tags"]["items"] == ["http-server", "https-server", "more"]
    assert rehearsal.instance()["labels"]["team"] == "blue"
    rehearsal.gce()
    assert rehearsal.instance()["labels"] == {"barevision": "staging", "role": "detector"}
    rehearsal.assert_predicts()


@long
def test_another_key_replaces_the_first(rehearsal: Rehearsal) -> None:
    other = rehearsal.user.folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    public = other.with_suffix(".pub").read_text("ascii").strip()
    rehearsal.gce(gce_instance_ssh_public_key=public, ansible_ssh_private_key_file=str(other))
    with pytest.raises(AssertionError, match="Permission denied"):
        # A connection that is kept needs no key.
        rehearsal.site("--tags", "preflight", "--ssh-extra-args", "-o ControlPath=none")
    rehearsal.gce()


@long
def test_another_machine_type_stops_and_starts_the_machine(rehearsal: Rehearsal) -> None:
    with pytest.raises(AssertionError, match="may_stop"):
        rehearsal.gce(gce_instance_machine_type="g1-small")
    small = {"gce_instance_machine_type": "g1-small", "gce_instance_may_stop": True}
    rehearsal.gce(**small)
    assert rehearsal.instance()["machineType"].endswith("/g1-small")
    rehearsal.assert_predicts()
    rehearsal.gce(gce_instance_may_stop=True)


@long
def test_a_machine_that_google_stopped_is_started_again(rehearsal: Rehearsal) -> None:
    rehearsal.compute.answer("POST", f"{PLACE}/instances/staging-1/stop", {}, None)
    rehearsal.gce()
    rehearsal.assert_predicts()


@long
def test_a_second_machine_joins(rehearsal: Rehearsal) -> None:
    rehearsal.gce(gce_instance_count=2)
    listed = json.loads(rehearsal.user.inventory().stdout)
    assert sorted(listed["barevision"]["hosts"]) == ["staging-1", "staging-2"]


@long
def test_the_second_machine_predicts_too(rehearsal: Rehearsal) -> None:
    rehearsal.site()
    rehearsal.assert_predicts("staging-2")
    assert rehearsal.site().changed == 0
    assert rehearsal.gce(gce_instance_count=2).changed == 0


@long
def test_a_machine_fewer_is_removed(rehearsal: Rehearsal) -> None:
    rehearsal.gce(gce_instance_may_delete=True)
    assert not any("staging-2" in trace for trace in rehearsal.machines.traces())
    rehearsal.assert_predicts()


@long
def test_the_address_changes_under_the_machine(rehearsal: Rehearsal) -> None:
    before = rehearsal.url()
    rehearsal.gce(gce_instance_address="ephemeral", gce_instance_may_delete=True)
    assert rehearsal.url() != before
    rehearsal.assert_predicts()
    rehearsal.gce()


def test_teardown_leaves_nothing(rehearsal: Rehearsal) -> None:
    run = rehearsal.user.playbook("playbooks/teardown.yml", "-e", "yes=true")
    assert "Nothing of staging is left in demo-project" in run.output
    assert rehearsal.compute.left == []
    assert not any("nspawn" in trace for trace in rehearsal.machines.traces())
    assert json.loads(rehearsal.user.inventory().stdout)["_meta"]["hostvars"] == {}
