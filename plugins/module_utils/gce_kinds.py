"""The kinds of Compute Engine resources: how a description differs from what there is, and which calls change it.

Pure functions on resources as the API has them: no requests are sent from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Resource = dict[str, Any]

RUNNING = "RUNNING"
STOPPED = "TERMINATED"
# States that end by themselves, of instances, and of disks, addresses, images and snapshots.
TRANSITIONAL = {
    *("PENDING", "PROVISIONING", "STAGING", "REPAIRING", "SUSPENDING", "PENDING_STOP", "STOPPING", "DEPROVISIONING"),
    *("CREATING", "UPLOADING", "RESTORING", "DELETING", "RESERVING"),
}

_HOST = re.compile(r"^https://(?:www|compute)\.googleapis\.com/compute/v1/")
_NOTHING = (None, "", [], {}, False)


@dataclass(frozen=True)
class Call:
    """One request that changes a resource. `path` comes after the resource's own, and is empty for itself."""

    method: str
    path: str
    body: Resource | None = None
    query: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """How a field is changed: `calls(spec, live)`, both whole resources; only on a stopped instance if `stopped`."""

    calls: Callable[[Resource, Resource], list[Call]]
    stopped: bool = False


@dataclass(frozen=True)
class Kind:
    """A collection of the API.

    `scope` is "global", "regions" or "zones". `unsaid` is what Google makes of a field that isn't given: leaving a
    field out asks for this. `implied` is the same where it depends on the other fields. `later` are the fields that
    Google takes only once the resource is there. `changes` says how a field is changed; `whole` replaces the resource;
    what has neither can't be changed, and `reasons` says why where there is more to say.
    """

    scope: str
    unsaid: Resource
    implied: Callable[[Resource], Resource] = lambda body: {}
    later: frozenset[str] = frozenset()
    changes: dict[str, Change] = field(default_factory=dict)
    whole: Change | None = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A field, and its values as they are compared: what the resource has, and what its description says."""

    field: str
    live: Any
    spec: Any


class RefusedError(Exception):
    """A change that is not made, and why."""


def _set_labels(spec: Resource, live: Resource) -> list[Call]:
    google_s = {key: value for key, value in live.get("labels", {}).items() if key.startswith("goog-")}
    labels = {**google_s, **spec.get("labels", {})}
    return [Call("POST", "setLabels", {"labels": labels, "labelFingerprint": live.get("labelFingerprint", "")})]


def _set_items(method: str, name: str) -> Change:
    """All metadata or tags at once. The fingerprint of the old ones keeps Google from losing somebody else's change."""

    def calls(spec: Resource, live: Resource) -> list[Call]:
        fingerprint = live.get(name, {}).get("fingerprint", "")
        return [Call("POST", method, {"items": spec[name].get("items", []), "fingerprint": fingerprint})]

    return Change(calls)


def _replace_access_configs(spec: Resource, live: Resource) -> list[Call]:
    calls = []
    for new, old in zip(spec["networkInterfaces"], live["networkInterfaces"], strict=True):
        new_configs, old_configs = new.get("accessConfigs", []), old.get("accessConfigs", [])
        if _pruned(_restricted(old_configs, new_configs)) == _pruned(new_configs):
            continue
        interface = {"networkInterface": old["name"]}
        for config in old_configs:
            calls.append(Call("POST", "deleteAccessConfig", query={**interface, "accessConfig": config["name"]}))
        calls += [Call("POST", "addAccessConfig", config, interface) for config in new_configs]
    return calls


def _set_processor(spec: Resource, live: Resource) -> list[Call]:
    """The machine type and its CPU platform. Google refuses a type that doesn't go with the platform of the one before,
    also where nobody asked for that: an N2 instance has one in any case.
    """
    old_type, old_platform = live["machineType"], live.get("minCpuPlatform")
    new_type, new_platform = spec.get("machineType", old_type), spec.get("minCpuPlatform")
    calls = []
    if new_type.rpartition("/")[2] != old_type.rpartition("/")[2]:
        if old_platform and old_platform != new_platform:
            calls.append(Call("POST", "setMinCpuPlatform", {"minCpuPlatform": "AUTOMATIC"}))
        calls.append(Call("POST", "setMachineType", {"machineType": new_type}))
    if new_platform and new_platform != old_platform:
        calls.append(Call("POST", "setMinCpuPlatform", {"minCpuPlatform": new_platform}))
    return calls


def _resize(spec: Resource, live: Resource) -> list[Call]:
    if int(spec["sizeGb"]) < int(live["sizeGb"]):
        raise RefusedError("a disk can only grow")
    return [Call("POST", "resize", {"sizeGb": str(spec["sizeGb"])})]


def _implied_by_rule(body: Resource) -> Resource:
    """A rule that names nobody is for everybody."""
    if body.get("direction") == "EGRESS":
        name, ends = "destinationRanges", ("destinationRanges",)
    else:
        name, ends = "sourceRanges", ("sourceRanges", "sourceTags", "sourceServiceAccounts")
    return {} if any(body.get(end) for end in ends) else {name: ["0.0.0.0/0"]}


def _implied_by_address(body: Resource) -> Resource:
    """Google refuses a network tier for an address inside of its network."""
    return {} if body.get("addressType") == "INTERNAL" or body.get("networkTier") else {"networkTier": "PREMIUM"}


def _not_empty(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if value not in ("", [], {})}


KINDS = {
    "addresses": Kind(
        scope="regions",
        unsaid={"description": "", "labels": {}, "addressType": "EXTERNAL"},
        implied=_implied_by_address,
        later=frozenset({"labels"}),
        changes={"labels": Change(_set_labels)},
        reasons={"networkTier": "an address keeps the network tier that it was reserved with"},
    ),
    "disks": Kind(
        scope="zones",
        unsaid={"description": "", "labels": {}},
        changes={"labels": Change(_set_labels), "sizeGb": Change(_resize)},
        reasons={
            "sourceImage": "the image is only read when the disk is made: say the one that it was made from, or make "
            "the machine anew"
        },
    ),
    "firewalls": Kind(
        scope="global",
        unsaid={
            "description": "",
            "priority": 1000,
            "direction": "INGRESS",
            "disabled": False,
            "allowed": [],
            "denied": [],
            "sourceRanges": [],
            "destinationRanges": [],
            "sourceTags": [],
            "targetTags": [],
            "sourceServiceAccounts": [],
            "targetServiceAccounts": [],
            "logConfig": {"enable": False},
        },
        implied=_implied_by_rule,
        # PUT replaces all fields, also those that are not sent. PATCH would leave them as they were.
        whole=Change(lambda spec, _: [Call("PUT", "", _not_empty(spec))]),
        reasons={
            "network": "a rule stays in its network",
            "direction": "a rule keeps its direction",
        },
    ),
    "instances": Kind(
        scope="zones",
        unsaid={
            "description": "",
            "labels": {},
            "metadata": {},
            "tags": {},
            "serviceAccounts": [],
            "deletionProtection": False,
            "canIpForward": False,
        },
        changes={
            "labels": Change(_set_labels),
            "metadata": _set_items("setMetadata", "metadata"),
            "tags": _set_items("setTags", "tags"),
            "deletionProtection": Change(
                lambda spec, _: [
                    Call(
                        "POST",
                        "setDeletionProtection",
                        query={"deletionProtection": "true" if spec["deletionProtection"] else "false"},
                    )
                ]
            ),
            "networkInterfaces": Change(_replace_access_configs),
            "machineType": Change(_set_processor, stopped=True),
            "minCpuPlatform": Change(_set_processor, stopped=True),
            # Without an e-mail address, the instance has no service account any more.
            "serviceAccounts": Change(
                lambda spec, _: [Call("POST", "setServiceAccount", (spec["serviceAccounts"] or [{"scopes": []}])[0])],
                stopped=True,
            ),
            "shieldedInstanceConfig": Change(
                lambda spec, _: [Call("PATCH", "updateShieldedInstanceConfig", spec["shieldedInstanceConfig"])],
                stopped=True,
            ),
        },
        reasons={
            "scheduling": "whether an instance is a spot instance is decided when it is made",
            "disks": "an instance keeps the disk that it was made with",
            "networkInterfaces": "an instance stays in the network that it was made in",
        },
    ),
    "networks": Kind(scope="global", unsaid={"description": ""}),
    "images": Kind(scope="global", unsaid={}, changes={"labels": Change(_set_labels)}),
    "snapshots": Kind(scope="global", unsaid={}, changes={"labels": Change(_set_labels)}),
}


def complete(kind: Kind, body: Resource) -> Resource:
    """The described resource, with Google's defaults for what its description leaves out."""
    return {**kind.unsaid, **body, **kind.implied(body)}


def creation(kind: Kind, spec: Resource) -> Resource:
    """What is sent to make a resource that there isn't yet."""
    return _not_empty({name: value for name, value in spec.items() if name not in kind.later})


def differences(spec: Resource, live: Resource, project: str) -> list[Difference]:
    """The fields of `spec` that are not so in `live`.

    Addresses of resources count as the same in all of their spellings, lists of plain values and of a rule's protocols
    in any order, numbers as text, protocols in any case; labels that begin with "goog-" are Google's own, and don't
    count. An empty field is as good as none, but an empty label or entry of the metadata is one.
    """
    differing = []
    for name, value in spec.items():
        new, old = _comparable(name, value, project), _comparable(name, live.get(name), project)
        if name not in ("labels", "metadata"):
            old, new = _pruned(_restricted(old, new)), _pruned(new)
        if old != new:
            differing.append(Difference(name, old, new))
    return differing


def plan(kind: Kind, spec: Resource, live: Resource, differing: list[Difference]) -> tuple[list[Call], list[Call]]:
    """The calls that make `live` what `spec` says: those at any time, and those for which an instance must be stopped.

    :param differing: what `differences` returned.
    :raises RefusedError: with every field that can't be changed, and why.
    """
    anytime: list[Call] = []
    stopped: list[Call] = []
    refusals = []
    for difference in differing:
        name = difference.field
        change = kind.changes.get(name) or (None if name in kind.reasons else kind.whole)
        if name == "networkInterfaces":
            # Access configs can be replaced, and nothing else of an interface.
            old, new = (
                [_pruned({**interface, "accessConfigs": None}) for interface in interfaces or []]
                for interfaces in (difference.live, difference.spec)
            )
            change = change if old == new else None
        try:
            if change is None:
                raise RefusedError(kind.reasons.get(name, "Google has no call that changes it"))
            calls = change.calls(spec, live)
        except RefusedError as refusal:
            refusals.append(f"{name} is {as_text(difference.live)}, not {as_text(difference.spec)}: {refusal}")
            continue
        group = stopped if change.stopped else anytime
        group += [call for call in calls if call not in group]
    if refusals:
        raise RefusedError("; ".join(refusals))
    return anytime, stopped


def as_text(value: Any) -> str:
    """A value as a message has it: a text without quotes, anything else as JSON."""
    return value if isinstance(value, str) and value else json.dumps(value)


def _comparable(name: str, value: Any, project: str) -> Any:
    if name == "labels":
        return {key: text for key, text in (value or {}).items() if not key.startswith("goog-")}
    if name == "metadata":
        return {item["key"]: item.get("value") or "" for item in (value or {}).get("items", [])}
    if name == "tags":
        return sorted((value or {}).get("items", []))
    return _plain(value, project)


def _plain(value: Any, project: str) -> Any:
    """With numbers as text, whole addresses of resources, protocols as Google spells them, and lists sorted where their
    order says nothing.
    """
    if isinstance(value, dict):
        spelled = {**value, "IPProtocol": str(value["IPProtocol"]).lower()} if "IPProtocol" in value else value
        return {key: _plain(inner, project) for key, inner in spelled.items()}
    if isinstance(value, list):
        plain = [_plain(inner, project) for inner in value]
        is_ordered = any(isinstance(inner, dict) and "IPProtocol" not in inner for inner in plain)
        return plain if is_ordered else sorted(plain, key=lambda inner: json.dumps(inner, sort_keys=True))
    if isinstance(value, bool) or value is None:
        return value
    path = _HOST.sub("", str(value))
    return f"projects/{project}/{path}" if re.match(r"(global|regions|zones)/", path) else path


def _restricted(live: Any, spec: Any) -> Any:
    """`live` without what `spec` says nothing of."""
    if isinstance(spec, dict) and isinstance(live, dict):
        return {key: _restricted(live.get(key), value) for key, value in spec.items()}
    if isinstance(spec, list) and isinstance(live, list) and len(spec) == len(live):
        return [_restricted(old, new) for old, new in zip(live, spec, strict=True)]
    return live


def _pruned(value: Any) -> Any:
    """Without what is as good as not there: Google leaves out empty lists and texts, and now and then what is false."""
    if isinstance(value, dict):
        pruned = {key: _pruned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in pruned.items() if inner not in _NOTHING} or None
    if isinstance(value, list):
        return [_pruned(inner) for inner in value] or None
    return None if value in _NOTHING else value
