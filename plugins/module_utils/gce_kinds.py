"""The kinds of Compute Engine resources: how a wanted one is compared with the one there is, and which calls change it.

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
# States that end by themselves, of instances, disks and addresses.
TRANSITIONAL = {
    *("PROVISIONING", "STAGING", "STOPPING", "SUSPENDING", "REPAIRING", "PENDING_STOP"),
    *("CREATING", "RESTORING", "DELETING", "RESERVING"),
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
    """How a field is changed: `calls(wanted, live)`, both whole resources; only on a stopped instance if `stopped`."""

    calls: Callable[[Resource, Resource], list[Call]]
    stopped: bool = False


@dataclass(frozen=True)
class Kind:
    """A collection of the API.

    `scope` is "global", "regions" or "zones". `unsaid` is what Google makes of a field that isn't given: leaving a
    field out asks for this. `later` are the fields that Google takes only once the resource is there. `changes` says
    how a field is changed; `whole` replaces the resource; what has neither can't be changed, and `reasons` says why
    where there is more to say.
    """

    scope: str
    unsaid: Resource
    later: frozenset[str] = frozenset()
    changes: dict[str, Change] = field(default_factory=dict)
    whole: Change | None = None
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A field, and its values as they are compared."""

    field: str
    live: Any
    wanted: Any


class RefusedError(Exception):
    """A change that is not made, and why."""


def _post(path: str, body: Callable[[Resource, Resource], Resource | None], stopped: bool = False) -> Change:
    return Change(lambda wanted, live: [Call("POST", path, body(wanted, live))], stopped)


def _labels(wanted: Resource, live: Resource) -> Resource:
    google_s = {key: value for key, value in live.get("labels", {}).items() if key.startswith("goog-")}
    return {"labels": {**google_s, **wanted.get("labels", {})}, "labelFingerprint": live.get("labelFingerprint", "")}


def _with_fingerprint(name: str) -> Callable[[Resource, Resource], Resource]:
    return lambda wanted, live: {
        "items": wanted[name].get("items", []),
        "fingerprint": live.get(name, {}).get("fingerprint", ""),
    }


def _service_account(wanted: Resource, _live: Resource) -> Resource:
    return wanted["serviceAccounts"][0] if wanted["serviceAccounts"] else {"scopes": []}


def _deletion_protection(wanted: Resource, _live: Resource) -> list[Call]:
    return [
        Call("POST", "setDeletionProtection", query={"deletionProtection": str(wanted["deletionProtection"]).lower()})
    ]


def _access_configs(wanted: Resource, live: Resource) -> list[Call]:
    calls = []
    for new, old in zip(wanted["networkInterfaces"], live["networkInterfaces"], strict=True):
        asked, there = new.get("accessConfigs", []), old.get("accessConfigs", [])
        if _same(_as_wanted(asked, there), asked):
            continue
        interface = {"networkInterface": old["name"]}
        for config in there:
            calls.append(Call("POST", "deleteAccessConfig", query={**interface, "accessConfig": config["name"]}))
        calls += [Call("POST", "addAccessConfig", config, interface) for config in asked]
    return calls


def _resize(wanted: Resource, live: Resource) -> list[Call]:
    if int(wanted["sizeGb"]) < int(live["sizeGb"]):
        raise RefusedError("a disk can only grow")
    return [Call("POST", "resize", {"sizeGb": str(wanted["sizeGb"])})]


def _replace(wanted: Resource, _live: Resource) -> list[Call]:
    # All fields are replaced, also those that are not sent.
    return [Call("PUT", "", _sent(wanted))]


_SET_LABELS = _post("setLabels", _labels)

KINDS = {
    "addresses": Kind(
        scope="regions",
        unsaid={"description": "", "labels": {}, "addressType": "EXTERNAL", "networkTier": "PREMIUM"},
        later=frozenset({"labels"}),
        changes={"labels": _SET_LABELS},
    ),
    "disks": Kind(
        scope="zones",
        unsaid={"description": "", "labels": {}},
        changes={"labels": _SET_LABELS, "sizeGb": Change(_resize)},
        reasons={"sourceImage": "the image is only read when the disk is made"},
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
        # PATCH would leave what is no longer said as it was.
        whole=Change(_replace),
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
            "labels": _SET_LABELS,
            "metadata": _post("setMetadata", _with_fingerprint("metadata")),
            "tags": _post("setTags", _with_fingerprint("tags")),
            "deletionProtection": Change(_deletion_protection),
            "networkInterfaces": Change(_access_configs),
            "machineType": _post(
                "setMachineType", lambda wanted, _: {"machineType": wanted["machineType"]}, stopped=True
            ),
            "serviceAccounts": _post("setServiceAccount", _service_account, stopped=True),
            "shieldedInstanceConfig": Change(
                lambda wanted, _: [Call("PATCH", "updateShieldedInstanceConfig", wanted["shieldedInstanceConfig"])],
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
    "images": Kind(scope="global", unsaid={}, changes={"labels": _SET_LABELS}),
    "snapshots": Kind(scope="global", unsaid={}, changes={"labels": _SET_LABELS}),
}


def complete(kind: Kind, body: Resource) -> Resource:
    """The wanted resource, with Google's defaults for what isn't said."""
    return {**kind.unsaid, **body}


def creation(kind: Kind, wanted: Resource) -> Resource:
    """What is sent to make a wanted resource that there isn't yet."""
    return _sent({name: value for name, value in wanted.items() if name not in kind.later})


def _sent(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if value not in ("", [], {})}


def differences(wanted: Resource, live: Resource, project: str) -> list[Difference]:
    """The fields of `wanted` that are not so in `live`.

    Addresses of resources count as the same in all of their spellings, lists of plain values and of a rule's protocols
    in any order, numbers as text; labels that begin with "goog-" are Google's own, and don't count.
    """
    found = []
    for name, value in wanted.items():
        new, old = _canonical(name, value, project), _canonical(name, live.get(name), project)
        old = _as_wanted(new, old) if name not in ("labels", "metadata") else old
        if not _same(old, new):
            found.append(Difference(name, old, new))
    return found


def plan(kind: Kind, wanted: Resource, live: Resource, found: list[Difference]) -> tuple[list[Call], list[Call]]:
    """The calls that make `live` what is wanted: those at any time, and those for which an instance must be stopped.

    :raises RefusedError: with every field that can't be changed, and why.
    """
    anytime: list[Call] = []
    stopped: list[Call] = []
    refusals = []
    for difference in found:
        try:
            change = _change(kind, difference, wanted, live)
            calls = change.calls(wanted, live)
        except RefusedError as refusal:
            refusals.append(
                f"{difference.field} is {_shown(difference.live)}, not {_shown(difference.wanted)}: {refusal}"
            )
            continue
        group = stopped if change.stopped else anytime
        group += [call for call in calls if call not in group]
    if refusals:
        raise RefusedError("; ".join(refusals))
    return anytime, stopped


def _change(kind: Kind, difference: Difference, wanted: Resource, live: Resource) -> Change:
    reason = kind.reasons.get(difference.field)
    if difference.field == "networkInterfaces" and _moves_network(difference):
        raise RefusedError(reason)
    if difference.field in kind.changes:
        return kind.changes[difference.field]
    if kind.whole and not reason:
        return kind.whole
    raise RefusedError(reason or "Google has no call that changes it")


def _moves_network(difference: Difference) -> bool:
    if len(difference.live or []) != len(difference.wanted):
        return True
    return any(
        not _same({**new, "accessConfigs": None}, {**(old or {}), "accessConfigs": None})
        for new, old in zip(difference.wanted, difference.live, strict=True)
    )


def _canonical(name: str, value: Any, project: str) -> Any:
    if name == "labels":
        return {key: text for key, text in (value or {}).items() if not key.startswith("goog-")}
    if name == "metadata":
        return {item["key"]: item["value"] for item in (value or {}).get("items", [])}
    if name == "tags":
        return sorted((value or {}).get("items", []))
    return _plain(value, project)


def _plain(value: Any, project: str) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner, project) for key, inner in value.items()}
    if isinstance(value, list):
        plain = [_plain(inner, project) for inner in value]
        ordered = any(isinstance(inner, dict) and "IPProtocol" not in inner for inner in plain)
        return plain if ordered else sorted(plain, key=lambda inner: json.dumps(inner, sort_keys=True))
    if isinstance(value, bool) or value is None:
        return value
    return _reference(str(value), project)


def _reference(text: str, project: str) -> str:
    path = _HOST.sub("", text)
    return f"projects/{project}/{path}" if re.match(r"(global|regions|zones)/", path) else path


def _as_wanted(wanted: Any, live: Any) -> Any:
    """`live` without what `wanted` says nothing of."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return {key: _as_wanted(value, live.get(key)) for key, value in wanted.items()}
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        return [_as_wanted(new, old) for new, old in zip(wanted, live, strict=True)]
    return live


def _same(left: Any, right: Any) -> bool:
    return _pruned(left) == _pruned(right)


def _pruned(value: Any) -> Any:
    """Without what is as good as not there: Google leaves out empty lists and texts, and now and then what is false."""
    if isinstance(value, dict):
        pruned = {key: _pruned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in pruned.items() if inner not in _NOTHING} or None
    if isinstance(value, list):
        return [_pruned(inner) for inner in value] or None
    return None if value in _NOTHING else value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
