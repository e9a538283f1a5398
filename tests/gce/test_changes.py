"""What changes when a variable does, and what is refused: gce.yml against the stand-in, with machines on paper.

What is marked long runs in `make gce-rehearsal` only.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.gce.standin.compute import Compute
from tests.gce.user import User, words

long = pytest.mark.long

Change = tuple[dict[str, Any], dict[str, Any], list[str]]
HTTP = ["PUT firewalls/barevision-http", "PUT firewalls/barevision-https"]
ONE = "instances/barevision-1"
RESERVED = ["POST addresses", "POST addresses/barevision-1/setLabels"]
MAY_DELETE = {"gce_instance_may_delete": True}
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
    "machine type and platform": (
        {},
        {
            "gce_instance_machine_type": "n2-standard-2",
            "gce_instance_min_cpu_platform": "Intel Ice Lake",
            "gce_instance_may_stop": True,
        },
        [f"POST {ONE}/stop", f"POST {ONE}/setMachineType", f"POST {ONE}/setMinCpuPlatform", f"POST {ONE}/start"],
    ),
    "disk size": ({}, {"gce_instance_disk_gb": 30}, ["POST disks/barevision-1/resize"]),
    "a machine more": (
        {},
        {"gce_instance_count": 2},
        ["POST addresses", "POST addresses/barevision-2/setLabels", "POST disks", "POST instances"],
    ),
    "a machine fewer": (
        {"gce_instance_count": 2},
        MAY_DELETE,
        ["DELETE instances/barevision-2", "DELETE addresses/barevision-2"],
    ),
    "address made ephemeral": (
        {},
        {"gce_instance_address": "ephemeral", **MAY_DELETE},
        [f"POST {ONE}/deleteAccessConfig", f"POST {ONE}/addAccessConfig", "DELETE addresses/barevision-1"],
    ),
    "address made static": (
        {"gce_instance_address": "ephemeral"},
        {},
        [*RESERVED, f"POST {ONE}/deleteAccessConfig", f"POST {ONE}/addAccessConfig"],
    ),
    "address removed": (
        {},
        {"gce_instance_address": "none", **MAY_DELETE},
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
    compute: Compute, user: User, old: dict, new: dict, calls: list[str]
) -> None:
    user.gce(**old)
    before = len(compute.changes)

    dry = user.gce("--check", "--diff", **new)
    print(dry.output)
    assert dry.changed > 0
    assert len(compute.changes) == before, "check mode changed something"
    # A new machine's host keys are learned on top.
    assert user.gce("--diff", **new).changed >= dry.changed
    # A disk that went with its machine is asked for, and found gone.
    assert compute.changes[before:] == calls
    assert user.gce(**new).changed == 0


REFUSALS = {
    "zone": ({"gce_instance_zone": "us-central1-b"}, "a machine can't move to zone us-central1-b"),
    "smaller disk": ({"gce_instance_disk_gb": 10}, "sizeGb is 20, not 10: a disk can only grow"),
    "other image": (
        {"gce_instance_image": "projects/debian-cloud/global/images/family/debian-12"},
        "the image is only read when the disk is made",
    ),
    "spot": ({"gce_instance_spot": True}, "whether an instance is a spot instance is decided when it is made"),
    "machine type": ({"gce_instance_machine_type": "e2-small"}, "Allow it with"),
    "platform": (
        {"gce_instance_min_cpu_platform": "Intel Ice Lake"},
        "Google takes no 'Intel Ice Lake' for e2-medium",
    ),
    "no source": ({"gce_instance_ssh_sources": []}, "From where may ssh come"),
    "no network": ({"gce_instance_ssh_sources": ["203.0.113.7"]}, "['203.0.113.7'] of gce_instance_ssh_sources"),
    "IPv4 and IPv6": (
        {"gce_instance_http_sources": ["0.0.0.0/0", "::/0"]},
        "['0.0.0.0/0', '::/0'] of gce_instance_http_sources are IPv4 and IPv6",
    ),
    "no label": ({"gce_instance_labels": {"Team": "blue"}}, "Team: 'blue' is no label"),
    "no entry": ({"gce_instance_metadata": {"a": [1]}}, "a: [1] is no entry"),
    "no tag": ({"gce_instance_tags": ["DB"]}, "'DB' is no tag"),
    "a machine fewer": (
        {"gce_instance_count": 0},
        "no longer list zones/us-central1-a/instances/barevision-1, zones/us-central1-a/disks/barevision-1, "
        "regions/us-central1/addresses/barevision-1: this run would remove that",
    ),
    "an address fewer": (
        {"gce_instance_address": "none"},
        "no longer list regions/us-central1/addresses/barevision-1:",
    ),
    "network tier": ({"gce_instance_network_tier": "STANDARD"}, "keeps the network tier that it was reserved with"),
    "no key": ({"gce_instance_ssh_public_key": ""}, "No public ssh key"),
    "no such address": ({"gce_instance_address": "fixed"}, "must be one of: static, ephemeral, none"),
}


@long
@pytest.mark.parametrize(("new", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_is_refused_with_the_reason(compute: Compute, user: User, new: dict, reason: str) -> None:
    user.gce()
    before = len(compute.changes)
    for mode in (("--check",), ()):
        with pytest.raises(AssertionError) as said:
            user.gce(*mode, **new)
        assert reason in words(said)
    assert len(compute.changes) == before
