"""Networks, in auto mode only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gce.standin.base import PROJECT, REGIONS, WEB, Effect, Request, nothing, path_of
from tests.gce.standin.failures import in_use

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute


ACCEPTED = {"insert": {"name", "description", "autoCreateSubnetworks", "routingConfig", "mtu"}}


def insert(compute: Compute, request: Request) -> Effect:
    """Auto mode only: an auto network has a subnetwork in each region."""
    if request.body.get("autoCreateSubnetworks") is not True:
        raise NotImplementedError("networks other than in auto mode")
    subnetworks = [f"{WEB}projects/{PROJECT}/regions/{r}/subnetworks/{request.name}" for r in REGIONS]
    routing = {"routingConfig": {"routingMode": "REGIONAL"}}
    compute.add(request.path, {**routing, **request.body, "subnetworks": subnetworks})
    return nothing


def delete(compute: Compute, request: Request) -> Effect:
    """Refused while something is in it."""
    compute.find(request.path)
    for instance in compute.all("instances"):
        if any(interface["network"] == WEB + request.path for interface in instance["networkInterfaces"]):
            raise in_use(request.path, path_of(instance["selfLink"]))
    for rule in compute.all("firewalls"):
        if rule["network"] == WEB + request.path:
            raise in_use(request.path, path_of(rule["selfLink"]))
    return lambda: compute.remove(request.path)
