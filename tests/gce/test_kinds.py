"""What counts as a difference, and which calls make up for it: pure functions, no stand-in."""

from __future__ import annotations

import pytest
from ansible.module_utils.gce_kinds import KINDS, Call, RefusedError, complete, differences, plan

PROJECT = "demo-project"
HOST = "https://www.googleapis.com/compute/v1"


def calls(kind: str, body: dict, live: dict) -> tuple[list[Call], list[Call]]:
    """The calls for an anytime and a stopped change."""
    wanted = complete(KINDS[kind], body)
    return plan(KINDS[kind], wanted, live, differences(wanted, live, PROJECT))


@pytest.mark.parametrize(
    "spelling",
    [
        "global/networks/web",
        f"projects/{PROJECT}/global/networks/web",
        f"{HOST}/projects/{PROJECT}/global/networks/web",
        f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/web",
    ],
)
def test_all_spellings_of_an_address_are_the_same(spelling: str) -> None:
    live = {"network": f"{HOST}/projects/{PROJECT}/global/networks/web"}
    assert differences({"network": spelling}, live, PROJECT) == []
    assert differences({"network": spelling}, {"network": live["network"] + "-2"}, PROJECT) != []


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"sourceRanges": ["10.0.0.0/8", "192.0.2.0/24"]}, {"sourceRanges": ["192.0.2.0/24", "10.0.0.0/8"]}),
        ({"priority": 1000}, {"priority": "1000"}),
        ({"sizeGb": 20}, {"sizeGb": "20"}),
        ({"labels": {}}, {}),
        ({"labels": {"a": "1"}}, {"labels": {"a": "1", "goog-terraform": "x"}}),
        ({"tags": {"items": ["b", "a"]}}, {"tags": {"items": ["a", "b"], "fingerprint": "x"}}),
        ({"metadata": {}}, {"metadata": {"fingerprint": "x", "kind": "compute#metadata"}}),
        ({"metadata": {"items": [{"key": "a"}]}}, {"metadata": {"items": [{"key": "a", "value": ""}]}}),
        ({"allowed": [{"IPProtocol": "TCP"}]}, {"allowed": [{"IPProtocol": "tcp"}]}),
        ({"disabled": False}, {}),
        ({"disks": [{"boot": True}]}, {"disks": [{"boot": True, "deviceName": "persistent-disk-0"}]}),
        (
            {"allowed": [{"IPProtocol": "udp"}, {"IPProtocol": "tcp", "ports": ["80", "443"]}]},
            {"allowed": [{"IPProtocol": "tcp", "ports": ["443", "80"]}, {"IPProtocol": "udp"}]},
        ),
    ],
)
def test_what_is_no_difference(wanted: dict, live: dict) -> None:
    assert differences(wanted, live, PROJECT) == []


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"sourceRanges": ["10.0.0.0/8"]}, {"sourceRanges": ["10.0.0.0/8", "0.0.0.0/0"]}),
        ({"sourceRanges": ["10.0.0.0/8", "0.0.0.0/0"]}, {"sourceRanges": ["10.0.0.0/8"]}),
        ({"labels": {}}, {"labels": {"a": "1"}}),
        ({"labels": {"a": "1", "b": "2"}}, {"labels": {"a": "1"}}),
        ({"metadata": {}}, {"metadata": {"items": [{"key": "a", "value": "1"}]}}),
        ({"labels": {"prod": ""}}, {}),
        ({"labels": {}}, {"labels": {"prod": ""}}),
        ({"labels": {"prod": ""}}, {"labels": {"prod": "1"}}),
        ({"metadata": {"items": [{"key": "a"}]}}, {}),
        ({"metadata": {}}, {"metadata": {"items": [{"key": "a", "value": ""}]}}),
        ({"metadata": {}}, {"metadata": {"items": [{"key": "a"}]}}),
        ({"tags": {}}, {"tags": {"items": ["a"]}}),
        ({"disabled": False}, {"disabled": True}),
        ({"priority": 0}, {"priority": 1000}),
        ({"description": ""}, {"description": "something"}),
        ({"networkInterfaces": [{"accessConfigs": []}]}, {"networkInterfaces": [{"accessConfigs": [{"name": "n"}]}]}),
        (
            {"allowed": [{"IPProtocol": "tcp", "ports": ["443"]}]},
            {"allowed": [{"IPProtocol": "tcp", "ports": ["80", "443"]}]},
        ),
    ],
)
def test_what_is_a_difference_in_both_directions(wanted: dict, live: dict) -> None:
    assert len(differences(wanted, live, PROJECT)) == 1


def test_a_rule_is_replaced_as_a_whole_without_what_is_no_longer_said() -> None:
    live = {"sourceRanges": ["0.0.0.0/0"], "sourceTags": ["old"], "allowed": [{"IPProtocol": "tcp"}]}
    body = {"sourceRanges": ["10.0.0.0/8"], "allowed": [{"IPProtocol": "tcp"}]}
    anytime, stopped = calls("firewalls", body, {**live, "direction": "INGRESS", "priority": 1000})
    assert [(call.method, call.path) for call in anytime] == [("PUT", "")]
    assert anytime[0].body == {
        **body,
        "direction": "INGRESS",
        "priority": 1000,
        "disabled": False,
        "logConfig": {"enable": False},
    }
    assert stopped == []


def test_labels_of_google_are_kept() -> None:
    live = {"labels": {"goog-a": "1", "old": "2"}, "labelFingerprint": "f"}
    anytime, _ = calls(
        "addresses", {"labels": {"new": "3"}}, {**live, "addressType": "EXTERNAL", "networkTier": "PREMIUM"}
    )
    assert anytime[0].body == {"labels": {"goog-a": "1", "new": "3"}, "labelFingerprint": "f"}


def test_an_instance_is_changed_piece_by_piece() -> None:
    live = {
        "machineType": f"{HOST}/projects/{PROJECT}/zones/z/machineTypes/e2-medium",
        "tags": {"items": ["a"], "fingerprint": "t"},
        "metadata": {"items": [{"key": "a", "value": "1"}], "fingerprint": "m"},
        "labelFingerprint": "l",
        "networkInterfaces": [{"name": "nic0", "accessConfigs": [{"name": "static", "natIP": "192.0.2.1"}]}],
    }
    body = {
        "machineType": "zones/z/machineTypes/e2-small",
        "tags": {"items": ["b"]},
        "deletionProtection": True,
        "networkInterfaces": [{"accessConfigs": [{"name": "ephemeral"}]}],
    }
    anytime, stopped = calls("instances", body, live)
    assert [(call.path, call.body, call.query) for call in anytime] == [
        ("setMetadata", {"items": [], "fingerprint": "m"}, {}),
        ("setTags", {"items": ["b"], "fingerprint": "t"}, {}),
        ("setDeletionProtection", None, {"deletionProtection": "true"}),
        ("deleteAccessConfig", None, {"networkInterface": "nic0", "accessConfig": "static"}),
        ("addAccessConfig", {"name": "ephemeral"}, {"networkInterface": "nic0"}),
    ]
    assert [(call.path, call.body) for call in stopped] == [("setMachineType", {"machineType": body["machineType"]})]


E2, N2 = (f"zones/z/machineTypes/{name}" for name in ("e2-medium", "n2-standard-2"))
AUTOMATIC = ("setMinCpuPlatform", {"minCpuPlatform": "AUTOMATIC"})
ICE_LAKE = ("setMinCpuPlatform", {"minCpuPlatform": "Intel Ice Lake"})


@pytest.mark.parametrize(
    ("live", "body", "expected"),
    [
        ((N2, "Intel Cascade Lake"), {"machineType": N2}, []),
        ((N2, "Intel Ice Lake"), {"machineType": N2}, []),
        ((N2, "Intel Cascade Lake"), {"machineType": N2, "minCpuPlatform": "Intel Ice Lake"}, [ICE_LAKE]),
        ((N2, "Intel Cascade Lake"), {"minCpuPlatform": "Intel Ice Lake"}, [ICE_LAKE]),
        ((N2, "Intel Cascade Lake"), {"machineType": E2}, [AUTOMATIC, ("setMachineType", {"machineType": E2})]),
        (
            (E2, None),
            {"minCpuPlatform": "Intel Ice Lake", "machineType": N2},
            [("setMachineType", {"machineType": N2}), ICE_LAKE],
        ),
        (
            ("zones/z/machineTypes/n1-standard-1", "Intel Skylake"),
            {"machineType": N2, "minCpuPlatform": "Intel Ice Lake"},
            [AUTOMATIC, ("setMachineType", {"machineType": N2}), ICE_LAKE],
        ),
        (
            ("zones/z/machineTypes/n2-standard-8", "Intel Ice Lake"),
            {"machineType": N2, "minCpuPlatform": "Intel Ice Lake"},
            [("setMachineType", {"machineType": N2})],
        ),
    ],
)
def test_a_machine_type_never_meets_the_platform_of_another(
    live: tuple[str, str | None], body: dict, expected: list[tuple[str, dict]]
) -> None:
    machine_type, platform = live
    has = {"machineType": f"{HOST}/projects/{PROJECT}/{machine_type}", "minCpuPlatform": platform}
    anytime, stopped = calls("instances", body, has)
    assert (anytime, [(call.path, call.body) for call in stopped]) == ([], expected)


@pytest.mark.parametrize(
    ("kind", "body", "live", "complaint"),
    [
        ("disks", {"sizeGb": 10}, {"sizeGb": "20"}, "sizeGb is 20, not 10: a disk can only grow"),
        (
            "disks",
            {"type": "zones/z/diskTypes/pd-ssd"},
            {"type": "zones/z/diskTypes/pd-balanced"},
            "no call that changes it",
        ),
        ("networks", {"autoCreateSubnetworks": True}, {"autoCreateSubnetworks": False}, "no call that changes it"),
        ("firewalls", {"network": "global/networks/a"}, {"network": "global/networks/b"}, "stays in its network"),
        ("instances", {"scheduling": {"preemptible": True}}, {"scheduling": {}}, "spot instance is decided"),
        (
            "instances",
            {"networkInterfaces": [{"network": "global/networks/a"}]},
            {"networkInterfaces": [{"network": "global/networks/b"}]},
            "stays in the network",
        ),
    ],
)
def test_what_cannot_be_changed_is_refused_with_the_reason(kind: str, body: dict, live: dict, complaint: str) -> None:
    whole = {**complete(KINDS[kind], {}), **live}
    with pytest.raises(RefusedError, match=complaint):
        calls(kind, body, whole)


def test_all_refusals_are_said_at_once() -> None:
    live = {"sizeGb": "20", "type": "zones/z/diskTypes/pd-standard", "description": "", "labels": {}}
    with pytest.raises(RefusedError, match=r"sizeGb is 20.*; type is"):
        calls("disks", {"sizeGb": 10, "type": "zones/z/diskTypes/pd-ssd"}, live)
