"""What all parts of the stand-in share: places, requests, and how Google shows a resource."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.gce.standin import discovery

PROJECT = "demo-project"
WEB = "https://www.googleapis.com/compute/v1/"
REGIONS = {"us-central1": "ab", "europe-west1": "bc"}
ZONES = {f"{region}-{letter}" for region, letters in REGIONS.items() for letter in letters}

Resource = dict[str, Any]
Effect = Callable[[], None]


@dataclass(frozen=True)
class Request:
    """A request to a method of the API that has passed its schema."""

    method: discovery.Method
    query: dict[str, str]
    body: Resource

    @property
    def collection(self) -> str:
        """Such as "instances"; the operations of all scopes are "operations", all addresses "addresses"."""
        name = self.method.id.split(".")[1]
        return {"globalAddresses": "addresses"}.get(name, "operations" if name.endswith("Operations") else name)

    @property
    def scope(self) -> str:
        """ "global", or such as "zones/us-central1-a"."""
        for place in ("zone", "region"):
            if place in self.method.parameters:
                return f"{place}s/{self.method.parameters[place]}"
        return "global"

    @property
    def name(self) -> str:
        """The name of the resource in the path; that of a body for insert."""
        if self.collection in ("projects", "zones", "regions"):
            return self.method.parameters[self.collection.removesuffix("s")]
        own = [value for key, value in self.method.parameters.items() if key not in ("project", "zone", "region")]
        return own[0] if own else self.body["name"]

    @property
    def path(self) -> str:
        """Such as "projects/demo-project/global/networks/web"."""
        if self.collection == "projects":
            return f"projects/{self.name}"
        if self.collection in ("zones", "regions"):
            return f"projects/{self.method.parameters['project']}/{self.scope}"
        return f"projects/{self.method.parameters['project']}/{self.scope}/{self.collection}/{self.name}"


def visible(resource: Resource) -> Resource:
    """A resource as Google shows it: without what is empty, and without what is only ours.

    What somebody else wrote stays as it is: a label or an entry of the metadata may well be empty.
    """
    copied = json.loads(json.dumps({key: value for key, value in resource.items() if not key.startswith("_")}))
    return _without_empty(copied)


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: each if key == "labels" else _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in inner.items() if key == "value" or each not in ("", [], {}, None)}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


def fingerprint(content: Any) -> str:
    """Of a content, as Google's: another one for another content."""
    text = json.dumps(content, sort_keys=True)
    return base64.b64encode(uuid.uuid5(uuid.NAMESPACE_OID, text).bytes[:8]).decode()


def now() -> str:
    """The time, as Google writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def whole(link: str) -> str:
    """The path that a link of a resource leads to, in whatever spelling: "global/networks/web" is in this project."""
    path = path_of(link)
    return path if path.startswith("projects/") else f"projects/{PROJECT}/{path}"


def path_of(link: str) -> str:
    """A link without Google's host."""
    return re.sub(r"^https://(www|compute)\.googleapis\.com/compute/v1/", "", link)


def nothing() -> None:
    """The effect of what has been done already."""
