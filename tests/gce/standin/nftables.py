"""Google's firewall rules and external addresses as an nftables table of this computer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, collapse_addresses

_PROTOCOLS = {"icmp": 1, "ipip": 4, "tcp": 6, "udp": 17, "esp": 50, "ah": 51, "sctp": 132}
_WITH_PORTS = {6: "tcp", 17: "udp", 132: "sctp"}
# Leaving one of these out would open more than the rule does.
_UNSUPPORTED = ("destinationRanges", "sourceServiceAccounts", "targetServiceAccounts")
_DEFAULT_NETWORK = "global/networks/default"


def ruleset(table: str, machines: Mapping[str, str], firewalls: list[dict], instances: list[dict]) -> str:
    """The text for `nft -f -` that makes `table` anew, in one step.

    :param machines: internal addresses by name. One that `instances` lacks answers nobody.
    :param firewalls: Firewall resources of the Compute API.
    :param instances: Instance resources. Those that `machines` lacks are left out.
    """
    known = {instance["name"]: instance for instance in instances if instance["name"] in machines}
    sources = _addresses_by_tag(known, machines)
    targets = [f"ip daddr {outside} dnat to {machines[name]}" for name, outside in external_addresses(known).items()]
    chains = [_chain(f"to-{name}", _rules(firewalls, known.get(name), sources)) for name in machines]
    doors = [f"ip daddr {address} goto to-{name}" for name, address in machines.items()]
    return "\n".join(
        [
            f"table ip {table}",
            f"delete table ip {table}",
            f"table ip {table} {{",
            _chain("outside", ["type nat hook output priority -100", *targets]),
            *chains,
            # Behind the translation of the target, before that of the source: all that is sent here or passes through.
            _chain("filter", ["type filter hook postrouting priority 0", *doors]),
            "}\n",
        ]
    )


def external_addresses(instances: Mapping[str, dict]) -> dict[str, str]:
    """The external addresses of the instances that have one, by name."""
    return {
        name: access["natIP"]
        for name, instance in instances.items()
        for access in _interface(instance).get("accessConfigs", [])[:1]
        if access.get("natIP")
    }


def _chain(name: str, lines: Iterable[str]) -> str:
    return "\n".join([f"chain {name} {{", *lines, "}"])


def _interface(instance: dict) -> dict:
    return (instance.get("networkInterfaces") or [{}])[0]


def _tags(instance: dict) -> set[str]:
    return set(instance.get("tags", {}).get("items", []))


def _network(resource: dict) -> str:
    # Both whole and partial URLs are allowed.
    return resource.get("network", _DEFAULT_NETWORK).rpartition("/")[2]


def _addresses_by_tag(instances: Mapping[str, dict], machines: Mapping[str, str]) -> dict[str, list[str]]:
    addresses: dict[str, list[str]] = {}
    for name, instance in instances.items():
        for tag in _tags(instance):
            addresses.setdefault(tag, []).append(machines[name])
    return addresses


def _rules(firewalls: Iterable[dict], instance: dict | None, sources: Mapping[str, list[str]]) -> list[str]:
    rules = ["ct state established,related accept"]
    # At the same priority, what is denied counts before what is allowed.
    for firewall in sorted(firewalls, key=lambda rule: (int(rule.get("priority", 1000)), not rule.get("denied"))):
        if instance and _counts_for(firewall, instance):
            rules += _matches(firewall, sources)
    return [*rules, "drop"]


def _counts_for(firewall: dict, instance: dict) -> bool:
    if firewall.get("disabled") or firewall.get("direction", "INGRESS") != "INGRESS":
        return False
    if unsupported := [field for field in _UNSUPPORTED if firewall.get(field)]:
        raise ValueError(f"the firewall rule {firewall['name']} has {', '.join(unsupported)}: not supported here")
    targets = set(firewall.get("targetTags", []))
    return _network(firewall) == _network(_interface(instance)) and (not targets or bool(targets & _tags(instance)))


def _matches(firewall: dict, sources: Mapping[str, list[str]]) -> list[str]:
    verdict, entries = ("drop", firewall["denied"]) if firewall.get("denied") else ("accept", firewall["allowed"])
    source = _source(firewall, sources)
    if source is None:
        return []
    matches = [match for entry in entries for match in _protocol_matches(entry)]
    return [" ".join(part for part in (source, match, verdict) if part) for match in matches]


def _source(firewall: dict, sources: Mapping[str, list[str]]) -> str | None:
    """The match of a rule's sources: empty for any, None where nobody can be meant."""
    given = firewall.get("sourceRanges", []), firewall.get("sourceTags", [])
    if not any(given):
        return ""
    ranges = [part for part in given[0] if ":" not in part]
    ranges += [address for tag in given[1] for address in sources.get(tag, [])]
    # Overlapping ranges can't stand in one set.
    networks = list(collapse_addresses(IPv4Network(part, strict=False) for part in ranges))
    if not networks:
        return None
    if networks[0].prefixlen == 0:
        return ""
    return f"ip saddr {{ {', '.join(map(str, networks))} }}"


def _protocol_matches(entry: dict) -> list[str]:
    name = str(entry["IPProtocol"]).lower()
    if name == "all":
        return [""]
    number = _PROTOCOLS[name] if name in _PROTOCOLS else int(name)
    if not entry.get("ports"):
        return [f"ip protocol {number}"]
    if number not in _WITH_PORTS:
        raise ValueError(f"protocol {name} has no ports")
    return [f"{_WITH_PORTS[number]} dport {_port_range(ports)}" for ports in entry["ports"]]


def _port_range(ports: str) -> str:
    first, _, last = str(ports).partition("-")
    return f"{int(first)}-{int(last)}" if last else str(int(first))
