"""External addresses, of regions and global ones."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from tests.gce.standin.base import Effect, Request, Resource, path_of
from tests.gce.standin.failures import in_use, invalid
from tests.gce.standin.methods.labels import labelled

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute


ACCEPTED = {"insert": {"name", "description", "addressType", "networkTier", "labels"}}
_INTERNAL_NETWORK = IPv4Network("10.200.0.0/24")


def insert(compute: Compute, request: Request) -> Effect:
    """Reserves one of the machines' external network, or one inside of Google."""
    is_internal = request.body.get("addressType") == "INTERNAL"
    if is_internal and "networkTier" in request.body:
        raise invalid("Invalid value for field 'resource.networkTier': An address with type INTERNAL cannot have one.")
    defaults = {"addressType": "EXTERNAL", "networkTier": "PREMIUM"}
    network = _INTERNAL_NETWORK if is_internal else compute.machines.external_network
    if "labels" in request.body:
        raise invalid("Invalid value for field 'resource.labels': labels of an address can only be set by setLabels.")
    address = compute.add(request.path, {**defaults, **request.body, **labelled({}), "status": "RESERVING"})

    def effect() -> None:
        with compute.lock:
            address.update(address=free_address(compute, network), status="RESERVED")

    return effect


def delete(compute: Compute, request: Request) -> Effect:
    """Refused while it is used."""
    users = compute.find(request.path).get("users")
    if users:
        raise in_use(request.path, path_of(users[0]))
    return lambda: compute.remove(request.path)


def take(compute: Compute, instance: Resource) -> None:
    """Gives a running instance its external address: the reserved one that it names, or else any."""
    for config in instance["networkInterfaces"][0].get("accessConfigs", []):
        config.setdefault("natIP", free_address(compute, compute.machines.external_network))
        if reserved := reservation(compute, config["natIP"]):
            reserved.update(status="IN_USE", users=[instance["selfLink"]])


def give_back(compute: Compute, instance: Resource) -> None:
    """Makes the reserved address of an instance free for another one."""
    for config in instance["networkInterfaces"][0].get("accessConfigs", []):
        if reserved := reservation(compute, config.get("natIP")):
            reserved.update(status="RESERVED", users=[])


def reservation(compute: Compute, address: str | None) -> Resource | None:
    """The resource that reserves an address; None for one that is ephemeral."""
    reserved = (resource for path, resource in compute.resources.items() if "/addresses/" in path)
    return next((resource for resource in reserved if address and resource.get("address") == address), None)


def free_address(compute: Compute, network: IPv4Network) -> str:
    """An address of a network that no resource has."""
    with compute.lock:
        text = json.dumps(list(compute.resources.values()))
        return next(str(host) for host in network.hosts() if f'"{host}"' not in text)
