"""Firewall rules as nftables rules, without a machine."""

from __future__ import annotations

import pytest

from tests.gce.standin.nftables import ruleset

MACHINES = {"web": "10.200.1.11", "db": "10.200.1.12"}
INSTANCES = [{"name": "web", "tags": {"items": ["front"]}}, {"name": "db"}, {"name": "elsewhere"}]
ANY_TCP = {"name": "any", "allowed": [{"IPProtocol": "tcp"}]}


def chain(name: str, *firewalls: dict, instances: list[dict] = INSTANCES) -> list[str]:
    text = ruleset("table", MACHINES, list(firewalls), instances)
    return text.partition(f"chain {name} {{\n")[2].partition("\n}")[0].splitlines()


def rules_of(*firewalls: dict, machine: str = "db") -> list[str]:
    found = chain(f"to-{machine}", *firewalls)
    assert (found[0], found[-1]) == ("ct state established,related accept", "drop")
    return found[1:-1]


def test_only_packets_to_the_machines_are_filtered() -> None:
    hook, *doors = chain("filter")

    assert hook.startswith("type filter hook postrouting")
    assert doors == ["ip daddr 10.200.1.11 goto to-web", "ip daddr 10.200.1.12 goto to-db"]


def test_machine_that_is_no_instance_answers_nobody() -> None:
    assert chain("to-db", ANY_TCP, instances=[])[1:] == ["drop"]


@pytest.mark.parametrize(
    ("entry", "matches"),
    [
        ({"IPProtocol": "all"}, ["accept"]),
        ({"IPProtocol": "icmp"}, ["ip protocol 1 accept"]),
        ({"IPProtocol": "50"}, ["ip protocol 50 accept"]),
        ({"IPProtocol": "TCP", "ports": ["80", "8000-8010"]}, ["tcp dport 80 accept", "tcp dport 8000-8010 accept"]),
        ({"IPProtocol": "17", "ports": [53]}, ["udp dport 53 accept"]),
    ],
)
def test_protocols_and_ports(entry: dict, matches: list[str]) -> None:
    assert rules_of({"name": "rule", "allowed": [entry]}) == matches


@pytest.mark.parametrize(
    ("sources", "match"),
    [
        ({}, "ip protocol 6 accept"),
        ({"sourceRanges": ["0.0.0.0/0", "10.0.0.0/8"]}, "ip protocol 6 accept"),
        ({"sourceRanges": ["10.1.0.0/16", "10.0.0.0/8"]}, "ip saddr { 10.0.0.0/8 } ip protocol 6 accept"),
        ({"sourceTags": ["front"]}, "ip saddr { 10.200.1.11/32 } ip protocol 6 accept"),
    ],
)
def test_sources(sources: dict, match: str) -> None:
    assert rules_of({**ANY_TCP, **sources}) == [match]


@pytest.mark.parametrize("sources", [{"sourceTags": ["nobody"]}, {"sourceRanges": ["2001:db8::/32"]}])
def test_sources_that_nobody_has(sources: dict) -> None:
    assert rules_of({**ANY_TCP, **sources}) == []


def test_lowest_priority_first_and_denied_before_allowed() -> None:
    denied = {"name": "no", "denied": [{"IPProtocol": "udp"}]}
    first = {"name": "first", "priority": 0, "allowed": [{"IPProtocol": "icmp"}]}

    assert rules_of(ANY_TCP, denied, first) == ["ip protocol 1 accept", "ip protocol 17 drop", "ip protocol 6 accept"]


def test_rule_for_a_tag_counts_for_those_that_have_it() -> None:
    tagged = {**ANY_TCP, "targetTags": ["front"]}

    assert rules_of(tagged, machine="web") == ["ip protocol 6 accept"]
    assert rules_of(tagged, machine="db") == []


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({**ANY_TCP, "targetServiceAccounts": ["robot@example.com"]}, "any has targetServiceAccounts"),
        ({"name": "ping", "allowed": [{"IPProtocol": "icmp", "ports": ["80"]}]}, "icmp has no ports"),
        ({**ANY_TCP, "sourceRanges": ["10.0.0.0/8 } accept; #"]}, "not a valid netmask"),
    ],
)
def test_what_is_not_supported_is_said(rule: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        rules_of(rule)
