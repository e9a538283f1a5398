"""Firewall rules."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from tests.gce.standin.base import Effect, Request, Resource
from tests.gce.standin.failures import invalid

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute


_TAG = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_PROTOCOLS = {"tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all"}
_WITH_PORTS = {"tcp", "udp", "sctp", "6", "17", "132"}
_RULE_FIELDS = {
    *("name", "description", "network", "priority", "direction", "disabled", "allowed", "denied", "logConfig"),
    *("sourceRanges", "destinationRanges", "sourceTags", "targetTags"),
    *("sourceServiceAccounts", "targetServiceAccounts"),
}

ACCEPTED = dict.fromkeys(("insert", "update", "patch"), _RULE_FIELDS)


def insert(compute: Compute, request: Request) -> Effect:
    """A new rule."""
    compute.add(request.path, _rule(compute, request.body))
    return compute.apply_network


def update(compute: Compute, request: Request) -> Effect:
    """PUT: what isn't sent is what it is by default."""
    return _change_rule(compute, request, request.body)


def patch(compute: Compute, request: Request) -> Effect:
    """PATCH: what isn't sent stays, null takes away."""
    live = compute.find(request.path)
    kept = {name: value for name, value in live.items() if name in _RULE_FIELDS}
    merged = {**kept, **request.body}
    return _change_rule(compute, request, {name: value for name, value in merged.items() if value is not None})


def delete(compute: Compute, request: Request) -> Effect:
    """Its ports are closed when it is gone."""
    compute.find(request.path)

    def effect() -> None:
        compute.remove(request.path)
        compute.apply_network()

    return effect


def _change_rule(compute: Compute, request: Request, body: Resource) -> Effect:
    live = compute.find(request.path)
    if body.get("name", request.name) != request.name:
        raise invalid("Invalid value for field 'resource.name': a name can't be changed")
    new = _rule(compute, body)
    for name in ("network", "direction"):
        if new[name] != live[name]:
            raise invalid(
                f"Invalid value for field 'resource.{name}': '{new[name]}'. Firewall {name} cannot be updated."
            )

    def effect() -> None:
        with compute.lock:
            for name in _RULE_FIELDS - {"name"}:
                live.pop(name, None)
            live.update(new, name=request.name)
        compute.apply_network()

    return effect


def _rule(compute: Compute, body: Resource) -> Resource:
    defaults = {"priority": 1000, "direction": "INGRESS", "disabled": False, "logConfig": {"enable": False}}
    network = compute.find(body.get("network", "global/networks/default"))["selfLink"]
    rule = {**defaults, **body, "network": network}
    if bool(rule.get("allowed")) == bool(rule.get("denied")):
        raise invalid("Invalid value for field 'resource.allowed': one of allowed and denied is required")
    for entry in rule.get("allowed", []) + rule.get("denied", []):
        _check_ports(entry)
    for name in ("sourceRanges", "destinationRanges"):
        versions = {_check_range(name, text) for text in rule.get(name, [])}
        if len(versions) > 1:
            raise invalid(f"Invalid value for field 'resource.{name}': IPv4 and IPv6 ranges cannot be mixed.")
    for tag in rule.get("sourceTags", []) + rule.get("targetTags", []):
        if not _TAG.fullmatch(tag):
            raise invalid(f"Invalid value for field 'resource.targetTags[0]': '{tag}'. Must be a match of a tag.")
    _check_ends(rule)
    ends = {"INGRESS": ("sourceRanges", "sourceTags", "sourceServiceAccounts"), "EGRESS": ("destinationRanges",)}
    if not any(rule.get(name) for name in ends[rule["direction"]]):
        rule[ends[rule["direction"]][0]] = ["0.0.0.0/0"]
    for name in ("allowed", "denied"):
        if name in rule:
            rule[name] = [{**entry, "IPProtocol": entry["IPProtocol"].lower()} for entry in rule[name]]
    if not 0 <= rule["priority"] <= 65535:
        raise invalid(f"Invalid value for field 'resource.priority': '{rule['priority']}'. Must be less than 65536")
    return rule


def _check_ends(rule: Resource) -> None:
    other_way = {"INGRESS": ("destinationRanges",), "EGRESS": ("sourceRanges", "sourceTags", "sourceServiceAccounts")}
    for name in other_way[rule["direction"]]:
        # Google takes the destinations of an ingress rule, too; nothing here would carry them out.
        if rule.get(name) and name == "destinationRanges":
            raise NotImplementedError("an ingress rule with destinations")
        if rule.get(name):
            raise invalid(f"Invalid value for field 'resource.{name}': not for rules of direction EGRESS.")
    has_accounts = rule.get("sourceServiceAccounts") or rule.get("targetServiceAccounts")
    if has_accounts and (rule.get("sourceTags") or rule.get("targetTags")):
        raise invalid("Invalid value for field 'resource': tags and service accounts cannot be mixed in a rule.")


def _check_ports(entry: Resource) -> None:
    if "IPProtocol" not in entry:
        raise invalid("Invalid value for field 'resource.allowed[0].IPProtocol': ''. Required field was not specified.")
    protocol = entry["IPProtocol"].lower()
    if protocol not in _PROTOCOLS and not (protocol.isdigit() and int(protocol) <= 255):
        raise invalid(f"Invalid value for field 'resource.allowed[0].IPProtocol': '{protocol}'.")
    if entry.get("ports") and protocol not in _WITH_PORTS:
        raise invalid(f"Invalid value for field 'resource.allowed[0].ports': {protocol} has no ports.")
    for port in entry.get("ports", []):
        first, _, last = port.partition("-")
        if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first) <= 65535):
            raise invalid(
                f"Invalid value for field 'resource.allowed[0].ports[0]': '{port}'. Ports may only be 0 to 65535"
            )


def _check_range(name: str, text: str) -> int:
    try:
        return ipaddress.ip_network(text).version
    except ValueError as error:
        raise invalid(
            f"Invalid value for field 'resource.{name}[0]': '{text}'. Must be a valid CIDR: {error}"
        ) from None
