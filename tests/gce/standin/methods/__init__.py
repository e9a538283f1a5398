"""What each method of the API does: a module for each collection, a function for each of its methods.

A function takes the state and a request, refuses what Google refuses, and returns what the operation does at its end.
`ACCEPTED` are the fields that a body may have here. What else Google knows is a bug, of the test or of the stand-in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.gce.standin.base import Request
from tests.gce.standin.methods import addresses, disks, firewalls, images, instances, labels, networks

_COLLECTIONS = {
    "addresses": addresses,
    "disks": disks,
    "firewalls": firewalls,
    "images": images,
    "instances": instances,
    "networks": networks,
    "snapshots": images,
}


def function_for(request: Request) -> Callable[..., Any]:
    """The function of a method, such as instances.set_tags for compute.instances.setTags.

    :raises NotImplementedError: for what Google has and the stand-in has not.
    """
    verb = re.sub("([A-Z])", r"_\1", request.method.id.rpartition(".")[2]).lower()
    module = labels if verb == "set_labels" else _COLLECTIONS.get(request.collection)
    function = getattr(module, verb, None)
    if function is None:
        raise NotImplementedError(request.method.id)
    return function


def accepted_fields(request: Request) -> set[str]:
    """The fields that the body of a request may have; all of them where nothing else is said."""
    accepted = getattr(_COLLECTIONS.get(request.collection), "ACCEPTED", {})
    return accepted.get(request.method.id.rpartition(".")[2], set(request.body))
