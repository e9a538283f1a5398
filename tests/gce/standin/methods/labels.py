"""Labels, which disks, addresses, images and instances have alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.gce.standin.base import Effect, Request, Resource, fingerprint
from tests.gce.standin.failures import FailureError, invalid

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute


_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def set_labels(compute: Compute, request: Request) -> Effect:
    """All labels, with the fingerprint of the old ones."""
    resource = compute.find(request.path)
    # What was added by hand has the fingerprint of no labels, if nothing else was said.
    if request.body.get("labelFingerprint") != resource.get("labelFingerprint", ""):
        message = "Labels fingerprint either invalid or resource labels have changed"
        raise FailureError(412, "conditionNotMet", message)
    labels = labelled(request.body.get("labels", {}))
    return lambda: resource.update(labels)


def labelled(labels: dict[str, str]) -> Resource:
    """Labels as Google keeps them, with their fingerprint."""
    if len(labels) > 64:
        raise invalid("Invalid value for field 'resource.labels': at most 64 labels")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise invalid(
                f"Invalid value for field 'resource.labels': '{key}={value}'. Label keys and values are lower case."
            )
    return {"labels": labels, "labelFingerprint": fingerprint(labels)}
