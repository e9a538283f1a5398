"""The filters behind the role gce_instance: pure functions, no Ansible and no stand-in."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest

from plugins.filter.gce_resources import (
    foreign,
    host_keys,
    instances,
    mistakes,
    remaining,
    removals,
    resources,
    surplus,
    texts,
)
from tests.roles.rendering import read_yaml

DEFAULTS = read_yaml("roles", "gce_instance", "defaults", "main.yml")
SETTINGS = {name.removeprefix("gce_instance_"): value for name, value in DEFAULTS.items()} | {
    "mark": "Made by Barevision: web",
    "deployment": "web",
    "ssh_sources": ["203.0.113.7/32"],
    "user": "deploy",
    "ssh_public_key": "ssh-ed25519 AAAA me@example.com\n",
}
PROJECT = "https://www.googleapis.com/compute/v1/projects/demo-project"


def described(kind: str, **settings: Any) -> list[dict[str, Any]]:
    """What the instances need of a kind."""
    return [resource for resource in resources({**SETTINGS, **settings}) if resource["kind"] == kind]


def instance(**settings: Any) -> dict[str, Any]:
    """The body of a single instance without a static address."""
    (described,) = instances({**SETTINGS, "address": "none", **settings}, [])
    return described["body"]


def metadata(**settings: Any) -> dict[str, str]:
    return {item["key"]: item["value"] for item in instance(**settings)["metadata"]["items"]}


def live(kind: str, name: str, place: str = "zones/us-central1-a", **fields: Any) -> dict[str, Any]:
    """A resource as the API has it."""
    return {"name": name, "selfLink": f"{PROJECT}/{place}/{kind}/{name}", "description": SETTINGS["mark"], **fields}


def test_each_machine_has_a_disk_in_its_zone_and_an_address_in_its_region() -> None:
    two = {"count": 2, "zone": "europe-west1-b"}
    assert [(disk["name"], disk["zone"]) for disk in described("disks", **two)] == [
        ("web-1", "europe-west1-b"),
        ("web-2", "europe-west1-b"),
    ]
    assert [(address["name"], address["region"]) for address in described("addresses", **two)] == [
        ("web-1", "europe-west1"),
        ("web-2", "europe-west1"),
    ]


def test_resources_come_in_an_order_in_which_they_can_be_made() -> None:
    kinds = [resource["kind"] for resource in resources(SETTINGS)]
    assert kinds.index("networks") < kinds.index("firewalls")
    assert set(kinds) == {"networks", "firewalls", "addresses", "disks"}


def test_a_rule_that_lets_nobody_in_is_removed() -> None:
    states = {rule["name"]: rule["state"] for rule in described("firewalls", http_sources=[], flask_sources=["::/0"])}
    assert states == {"web-ssh": "present", "web-http": "absent", "web-https": "absent", "web-flask": "present"}


def test_rules_let_only_their_sources_in() -> None:
    rules = {rule["name"]: rule["body"] for rule in described("firewalls", http_sources=["192.0.2.0/24"])}
    assert rules["web-ssh"]["sourceRanges"] == SETTINGS["ssh_sources"]
    assert rules["web-http"]["sourceRanges"] == rules["web-https"]["sourceRanges"] == ["192.0.2.0/24"]
    # Only machines that have the tag of a rule answer at its port.
    tags = {tag for rule in rules.values() for tag in rule["targetTags"]}
    assert tags <= set(instance()["tags"]["items"])


def test_an_address_is_looked_up_by_its_name() -> None:
    addresses = [live("addresses", f"web-{number}", address=f"192.0.2.{number}") for number in (3, 1, 2)]
    addresses_of_instances = {
        described["name"]: described["body"]["networkInterfaces"][0]["accessConfigs"][0]["natIP"]
        for described in instances({**SETTINGS, "count": 3}, addresses)
    }
    assert addresses_of_instances == {"web-1": "192.0.2.1", "web-2": "192.0.2.2", "web-3": "192.0.2.3"}


def test_an_address_that_is_not_reserved_is_an_error() -> None:
    with pytest.raises(ValueError, match="no address is reserved for web-2"):
        instances({**SETTINGS, "count": 2}, [live("addresses", "web-1", address="192.0.2.1")])


def test_an_address_that_check_mode_would_reserve_is_a_difference_all_the_same() -> None:
    (described,) = instances(SETTINGS, [{"name": "web-1"}])
    assert described["body"]["networkInterfaces"][0]["accessConfigs"][0]["natIP"] == "(to be reserved)"


def test_each_kind_of_external_address_has_a_name_of_its_own() -> None:
    assert instance(address="none")["networkInterfaces"][0]["accessConfigs"] == []
    (ephemeral,) = instance(address="ephemeral")["networkInterfaces"][0]["accessConfigs"]
    (static,) = instances(SETTINGS, [{"name": "web-1"}])[0]["body"]["networkInterfaces"][0]["accessConfigs"]
    assert "natIP" not in ephemeral
    assert ephemeral["name"] != static["name"]
    assert described("addresses", address="ephemeral") == described("addresses", address="none") == []


def test_the_deployment_is_known_by_labels_that_no_setting_replaces() -> None:
    labels = instance(labels={"barevision": "other", "role": "other", "team": "blue"})["labels"]
    assert labels == {"barevision": "web", "role": "detector", "team": "blue"}
    assert {resource["body"]["description"] for resource in resources(SETTINGS)} == {SETTINGS["mark"]}


def test_a_key_in_the_metadata_or_os_login_decides_who_logs_in() -> None:
    by_key = metadata(metadata={"ssh-keys": "other:key", "a": "1"})
    assert by_key["ssh-keys"] == "deploy:ssh-ed25519 AAAA me@example.com"
    assert (by_key["enable-oslogin"], by_key["a"]) == ("FALSE", "1")
    by_account = metadata(os_login=True)
    assert by_account["enable-oslogin"] == "TRUE"
    assert "ssh-keys" not in by_account


def test_a_spot_instance_is_never_restarted_by_google() -> None:
    assert instance(spot=True)["scheduling"]["automaticRestart"] is False
    assert instance()["scheduling"]["automaticRestart"] is True


def test_a_machine_has_a_login_at_google_only_with_a_service_account() -> None:
    assert instance()["serviceAccounts"] == []
    assert instance(service_account="x@example.com")["serviceAccounts"][0]["email"] == "x@example.com"


def test_what_is_no_longer_described_is_surplus_by_kind_and_name() -> None:
    existing = {
        "instances": [live("instances", "web-1"), live("instances", "web-2")],
        "disks": [live("disks", "web-1"), live("disks", "web-2")],
        "addresses": [live("addresses", "web-1", "regions/us-central1")],
    }
    settings = {**SETTINGS, "address": "ephemeral"}
    assert surplus(existing, settings) == [
        "zones/us-central1-a/instances/web-2",
        "zones/us-central1-a/disks/web-2",
        "regions/us-central1/addresses/web-1",
    ]


def test_what_somebody_else_made_is_no_surplus() -> None:
    existing = {
        "instances": [
            *(live("instances", name) for name in ("web-1", "web-9", "my-copy", "web-1a", "web-01", "web-", "xweb-1")),
            live("instances", "web-8", description=""),
        ],
        "disks": [live("disks", "my-data", "zones/europe-west1-b")],
        "addresses": [live("addresses", "web-1", "regions/europe-west1")],
    }
    assert surplus(existing, SETTINGS) == [
        "zones/us-central1-a/instances/web-9",
        # A deployment that was moved while it had no machines.
        "regions/europe-west1/addresses/web-1",
    ]
    assert foreign(existing, "web", SETTINGS["mark"]) == [
        *(
            f"zones/us-central1-a/instances/{name}"
            for name in ("my-copy", "web-1a", "web-01", "web-", "xweb-1", "web-8")
        ),
        "zones/europe-west1-b/disks/my-data",
    ]


TEXTS = {"year": "2026", "half": "0.5", "prod": "yes", "test": "no", "empty": "", "a": "b"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"year": 2026, "half": 0.5, "prod": True, "test": False, "empty": None, "a": "b"}, TEXTS),
        ('{"year": 2026, "half": 0.5, "prod": true, "test": false, "empty": null, "a": "b"}', TEXTS),
        ("year=2026, half=0.5 prod=yes test=no, empty= a=b", TEXTS),
        ({7: datetime.date(2026, 1, 2)}, {"7": "2026-01-02"}),
        (None, {}),
        # What has no text is left to `mistakes`.
        ({"a": ["b"]}, {"a": ["b"]}),
    ],
    ids=str,
)
def test_a_dictionary_may_be_a_text_and_has_texts(value: Any, expected: dict[str, Any]) -> None:
    assert texts(value, "yes", "no") == expected


MISTAKES = {
    "no prefix": (
        {"ssh_sources": ["203.0.113.7"]},
        r"\['203\.0\.113\.7'\] of gce_instance_ssh_sources are no networks",
    ),
    "bits of the host": ({"http_sources": ["10.0.0.1/8"]}, r"'10\.0\.0\.1/8'.*no networks"),
    "no number": ({"flask_sources": ["999.0.0.0/8"]}, "gce_instance_flask_sources are no networks"),
    "mask": ({"http_sources": ["10.0.0.0/255.0.0.0"]}, "no networks"),
    "list as a network": ({"http_sources": [["10.0.0.0/8"]]}, "no networks"),
    "both families": ({"flask_sources": ["10.0.0.0/8", "2001:db8::/32"]}, "are IPv4 and IPv6"),
    "AUTOMATIC": ({"min_cpu_platform": "AUTOMATIC"}, "'AUTOMATIC' is no CPU platform"),
    "platform without its maker": (
        {"machine_type": "n2-standard-2", "min_cpu_platform": "Ice Lake"},
        "'Ice Lake' is no CPU platform.*gcloud compute zones describe us-central1-a",
    ),
    "platform of an e2": ({"min_cpu_platform": "Intel Ice Lake"}, "takes no 'Intel Ice Lake' for e2-medium"),
    "platform of a shared core": (
        {"machine_type": "g1-small", "min_cpu_platform": "Intel Skylake"},
        "takes no 'Intel Skylake' for g1-small",
    ),
    "arm64 image": (
        {"image": "projects/debian-cloud/global/images/family/debian-12-arm64"},
        "debian-12-arm64 is for arm64, and the processor of e2-medium is x86-64.*family/debian-13,",
    ),
    "arm64 processor": (
        {"machine_type": "c4a-standard-1"},
        "family/debian-13 is for x86-64, and the processor of c4a-standard-1 is arm64.*family/debian-13-arm64,",
    ),
    "label's key in capitals": ({"labels": {"Team": "blue"}}, "gce_instance_labels: Team: 'blue' is no label"),
    "label's value in capitals": ({"labels": {"team": "Blue"}}, "team: 'Blue' is no label"),
    "label with a dot": ({"labels": {"size": "0.5"}}, "is no label"),
    "label of a number": ({"labels": {"1": "a"}}, "is no label"),
    "label of Google's": ({"labels": {"goog-x": "a"}}, "is no label"),
    "label too long": ({"labels": {"a": "b" * 64}}, "is no label"),
    "list as a label": ({"labels": {"a": ["b"]}}, "is no label"),
    "tag in capitals": ({"tags": ["DB"]}, "gce_instance_tags: 'DB' is no tag"),
    "number as a tag": ({"tags": ["2026"]}, "is no tag"),
    "list as a tag": ({"tags": [["a"]]}, "is no tag"),
    "key with a blank": ({"metadata": {"a b": "c"}}, "gce_instance_metadata: a b: 'c' is no entry"),
    "dictionary as an entry": ({"metadata": {"a": {"b": 1}}}, "is no entry"),
}


@pytest.mark.parametrize(("settings", "complaint"), MISTAKES.values(), ids=MISTAKES)
def test_what_google_would_refuse_is_named(settings: dict[str, Any], complaint: str) -> None:
    (sentence,) = mistakes({**SETTINGS, **settings})
    assert re.search(complaint, sentence)


FINE = {
    "fields": {
        "http_sources": ["::/0"],
        "labels": {"a": "", "b-c_d": "2026", "größe": "klein"},
        "tags": ["a", "b-1"],
        "metadata": {"Serial-port_1": "", "script": "#!/bin/sh\necho 'x'"},
    },
    "Intel": {"machine_type": "n2-standard-2", "min_cpu_platform": "Intel Ice Lake"},
    "AMD": {"machine_type": "n2d-custom-2-4096", "min_cpu_platform": "AMD Milan"},
    "arm64": {
        "machine_type": "t2a-standard-1",
        "image": "projects/ubuntu-os-cloud/global/images/ubuntu-2404-noble-arm64-v20260901",
    },
    # Only its owner knows for which processor it is.
    "image of one's own": {"machine_type": "c4a-standard-1", "image": "projects/mine/global/images/family/detector"},
}


@pytest.mark.parametrize("settings", FINE.values(), ids=FINE)
def test_what_google_takes_is_no_mistake(settings: dict[str, Any]) -> None:
    assert mistakes({**SETTINGS, **settings}) == []


def test_a_platform_is_asked_for_only_where_one_is_set() -> None:
    assert (
        instance(machine_type="n2-standard-2", min_cpu_platform="Intel Ice Lake")["minCpuPlatform"] == "Intel Ice Lake"
    )
    assert "minCpuPlatform" not in instance()


def test_a_tag_is_there_once() -> None:
    assert instance(tags=["more", "http-server"])["tags"]["items"] == ["http-server", "https-server", "more"]


def test_an_address_and_its_use_are_of_the_same_tier() -> None:
    (address,) = described("addresses", network_tier="STANDARD")
    (config,) = instance(address="ephemeral", network_tier="STANDARD")["networkInterfaces"][0]["accessConfigs"]
    assert address["body"]["networkTier"] == config["networkTier"] == "STANDARD"


def test_what_remains_is_ours_and_in_an_order_in_which_it_can_be_removed() -> None:
    ours, other = f"{PROJECT}/global/networks/web", f"{PROJECT}/global/networks/other"
    existing = {
        "networks": [
            live("networks", "other", "global", description=""),
            live("networks", "web", "global"),
        ],
        "firewalls": [
            live("firewalls", "theirs", "global", network=other),
            live("firewalls", "web-ssh", "global", network=ours),
        ],
        "images": [],
        "snapshots": [live("snapshots", "s", "global")],
        "addresses": [live("addresses", "web-1", "regions/us-central1")],
        "disks": [live("disks", "web-1")],
        "instances": [live("instances", "web-1")],
    }
    assert remaining(existing, "Made by Barevision: web") == [
        "zones/us-central1-a/instances/web-1",
        "zones/us-central1-a/disks/web-1",
        "regions/us-central1/addresses/web-1",
        "global/snapshots/s",
        "global/firewalls/web-ssh",
        "global/networks/web",
    ]


@pytest.mark.parametrize("start", ["", f"{PROJECT}/"], ids=["without the project", "whole"])
@pytest.mark.parametrize(
    ("link", "place"),
    [
        ("zones/us-central1-a/instances/web-1", {"zone": "us-central1-a", "region": None}),
        ("regions/us-central1/addresses/web-1", {"zone": None, "region": "us-central1"}),
        ("global/networks/web", {"zone": None, "region": None}),
    ],
)
def test_a_link_says_what_is_removed(start: str, link: str, place: dict[str, str]) -> None:
    kind, name = link.split("/")[-2:]
    assert removals([start + link]) == [{"kind": kind, "name": name, "state": "absent", **place}]


def test_what_is_no_link_removes_nothing() -> None:
    with pytest.raises(ValueError, match="'web-1' is no link"):
        removals(["zones/us-central1-a/disks/web-1", "web-1"])


def test_host_keys_are_named_after_the_instance_that_told_them() -> None:
    readings = [
        {"item": {"id": "7"}, "guest_attributes": {"ssh-ed25519": "AAAA", "ssh-rsa": "BBBB"}},
        {"item": {"id": "8"}, "skipped": True},
    ]
    assert host_keys(readings) == [
        {"name": "compute.7", "key": "ssh-ed25519 AAAA"},
        {"name": "compute.7", "key": "ssh-rsa BBBB"},
    ]
