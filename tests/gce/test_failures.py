"""What fails at Google, and what a half-made deployment leaves: gce.yml and teardown.yml, with machines on paper.

What is marked long runs in `make gce-rehearsal` only.
"""

from __future__ import annotations

import pytest

from tests.gce.standin import failures
from tests.gce.standin.compute import Compute
from tests.gce.user import User, words

long = pytest.mark.long

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
def test_a_failure_is_clear_and_the_next_run_converges(compute: Compute, user: User, step: str, fault: str) -> None:
    failure, way_out = FAULTS[fault]
    compute.fail(f"compute.{STEPS[step]}", failure)
    with pytest.raises(AssertionError) as said:
        user.gce(gce_instance_timeout=6)
    assert way_out in words(said)
    assert "Traceback" not in words(said)

    compute.heal()
    user.gce()
    assert user.gce().changed == 0
    assert sum("/instances/" in path for path in compute.left) == 1


@pytest.mark.parametrize("step", [pytest.param(step, marks=[] if step == "instance" else long) for step in STEPS])
def test_a_half_made_deployment_goes_without_a_trace(compute: Compute, user: User, step: str) -> None:
    compute.fail(f"compute.{STEPS[step]}", failures.PERMISSION)
    with pytest.raises(AssertionError):
        user.gce(gce_instance_timeout=6)
    compute.heal()
    user.teardown("-e", "yes=true")
    assert compute.left == []


@long
def test_a_teardown_that_fails_goes_on_next_time(compute: Compute, user: User) -> None:
    user.gce(gce_instance_count=2)
    compute.add("projects/demo-project/global/snapshots/s", {"labels": {"barevision": "barevision"}})
    compute.add("projects/demo-project/global/images/i", {"labels": {"barevision": "barevision"}})
    compute.add("projects/demo-project/global/images/other", {"labels": {"barevision": "other"}})
    compute.fail("compute.addresses.delete", failures.PERMISSION)
    with pytest.raises(AssertionError) as said:
        user.teardown("-e", "yes=true")
    assert "docs/gce.md lists the roles" in words(said)
    compute.heal()
    user.teardown("-e", "yes=true")
    assert compute.left == ["projects/demo-project/global/images/other"]


@long
def test_a_protected_machine_is_not_removed(compute: Compute, user: User) -> None:
    user.gce()
    instance = compute.resources["projects/demo-project/zones/us-central1-a/instances/barevision-1"]
    instance["deletionProtection"] = True
    with pytest.raises(AssertionError) as said:
        user.teardown("-e", "yes=true")
    assert "protected against deletion" in words(said)
