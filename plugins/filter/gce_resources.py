"""What the role gce_instance asks of Google: pure functions on its settings and on resources as the API has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Resource = dict[str, Any]
Settings = dict[str, Any]

_STANDARD = {"provisioningModel": "STANDARD", "automaticRestart": True, "onHostMaintenance": "MIGRATE"}
_SPOT = {
    "provisioningModel": "SPOT",
    "automaticRestart": False,
    "onHostMaintenance": "TERMINATE",
    "instanceTerminationAction": "STOP",
}
# The end of a link: where the resource is, its kind and its name.
_END_OF_LINK = re.compile(r"(global|zones/(?P<zone>[^/]+)|regions/(?P<region>[^/]+))/(?P<kind>[^/]+)/(?P<name>[^/]+)$")


def resources(settings: Settings) -> list[Resource]:
    """What the instances of a deployment need: a network with firewall rules, and for each an address and a disk.

    :param settings: the role's settings without the role's name in theirs, and `mark`, the description that tells the
        deployment's resources from those of others.
    :returns: resources as the module gce_resource takes them, in the order in which they can be made.
    """
    deployment, zone, mark = settings["deployment"], settings["zone"], settings["mark"]
    rules = (
        ("ssh", "22", settings["ssh_sources"], []),
        ("http", "80", settings["http_sources"], ["http-server"]),
        ("https", "443", settings["http_sources"], ["https-server"]),
        ("flask", "5000", settings["flask_sources"], ["http-server"]),
    )
    network = {"kind": "networks", "name": deployment, "body": {"description": mark, "autoCreateSubnetworks": True}}
    firewalls = [
        {
            "kind": "firewalls",
            "name": f"{deployment}-{rule}",
            "state": "present" if sources else "absent",
            "body": {
                "description": mark,
                "network": f"global/networks/{deployment}",
                "sourceRanges": sources,
                "targetTags": tags,
                "allowed": [{"IPProtocol": "tcp", "ports": [port]}],
            },
        }
        for rule, port, sources, tags in rules
    ]
    addresses = [
        {"kind": "addresses", "region": zone.rpartition("-")[0], "name": name, "body": _marked(settings)}
        for name in _names(settings)
        if settings["address"] == "static"
    ]
    disks = [
        {
            "kind": "disks",
            "zone": zone,
            "name": name,
            "body": {
                **_marked(settings),
                "type": f"zones/{zone}/diskTypes/{settings['disk_type']}",
                "sizeGb": settings["disk_gb"],
                "sourceImage": settings["image"],
            },
        }
        for name in _names(settings)
    ]
    return [network, *firewalls, *addresses, *disks]


def instances(settings: Settings, addresses: Iterable[Resource]) -> list[Resource]:
    """The instances of a deployment.

    :param settings: as `resources` takes them.
    :param addresses: the reserved addresses as the API has them, each with the name of its instance. What check mode
        would reserve has no `address` yet.
    :returns: resources as the module gce_resource takes them.
    :raises ValueError: where static addresses are set, and no address has an instance's name.
    """
    zone, kind_of_address = settings["zone"], settings["address"]
    metadata = {
        **settings["metadata"],
        "enable-guest-attributes": "TRUE",
        "block-project-ssh-keys": "TRUE",
        "enable-oslogin": "TRUE" if settings["os_login"] else "FALSE",
    }
    if not settings["os_login"]:
        metadata["ssh-keys"] = f"{settings['user']}:{settings['ssh_public_key'].strip()}"
    account = {"email": settings["service_account"], "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
    reserved = {address["name"]: address.get("address", "(to be reserved)") for address in addresses}

    described = []
    for name in _names(settings):
        # The name says where the address comes from, so that another setting shows as a difference.
        access_config = {"type": "ONE_TO_ONE_NAT", "name": kind_of_address, "networkTier": "PREMIUM"}
        if kind_of_address == "static":
            if name not in reserved:
                raise ValueError(f"no address is reserved for {name}")
            access_config["natIP"] = reserved[name]
        body = {
            **_marked(settings),
            "machineType": f"zones/{zone}/machineTypes/{settings['machine_type']}",
            "tags": {"items": ["http-server", "https-server", *settings["tags"]]},
            "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
            "scheduling": _SPOT if settings["spot"] else _STANDARD,
            "serviceAccounts": [account] if settings["service_account"] else [],
            "shieldedInstanceConfig": {
                "enableSecureBoot": settings["secure_boot"],
                "enableVtpm": True,
                "enableIntegrityMonitoring": True,
            },
            "disks": [{"boot": True, "autoDelete": True, "source": f"zones/{zone}/disks/{name}"}],
            "networkInterfaces": [
                {
                    "network": f"global/networks/{settings['deployment']}",
                    "accessConfigs": [] if kind_of_address == "none" else [access_config],
                }
            ],
        }
        described.append({"kind": "instances", "zone": zone, "name": name, "state": "running", "body": body})
    return described


def _names(settings: Settings) -> list[str]:
    return [f"{settings['deployment']}-{number}" for number in range(1, settings["count"] + 1)]


def _marked(settings: Settings) -> Resource:
    own_labels = {"barevision": settings["deployment"], "role": "detector"}
    return {"description": settings["mark"], "labels": {**settings["labels"], **own_labels}}


def surplus(existing: dict[str, list[Resource]], described: Iterable[Resource]) -> list[str]:
    """What exists and isn't described, such as the second instance of a deployment that has one now.

    :param existing: lists of resources as the API has them, by kind.
    :param described: resources as the module gce_resource takes them.
    :returns: links.
    """
    kept = {(resource["kind"], resource["name"]) for resource in described}
    return [
        resource["selfLink"]
        for kind, resources_of_kind in existing.items()
        for resource in resources_of_kind
        if (kind, resource["name"]) not in kept
    ]


def remaining(existing: dict[str, list[Resource]], mark: str) -> list[str]:
    """What there is of a deployment, in an order in which it can be removed.

    :param existing: lists of resources as the API has them, by kind: all networks and firewall rules of the project, as
        Google has no labels for them; and of the other kinds what carries the deployment's label or mark.
    :param mark: the description of the deployment's network; one that only has the same name is somebody else's.
    :returns: links without the project, such as "zones/us-central1-a/instances/web-1".
    """
    networks = [network["selfLink"] for network in existing["networks"] if network.get("description") == mark]
    firewalls = [rule["selfLink"] for rule in existing["firewalls"] if rule["network"] in networks]
    labelled = [
        resource["selfLink"]
        for kind in ("instances", "disks", "addresses", "snapshots", "images")
        for resource in existing[kind]
    ]
    return [re.sub(r"^.*/projects/[^/]+/", "", link) for link in (*labelled, *firewalls, *networks)]


def removals(links: Iterable[str]) -> list[Resource]:
    """What removes the resources that links lead to.

    :param links: of zonal, regional and global resources, whole or without the project.
    :returns: resources as the module gce_resource takes them.
    :raises ValueError: for what is no such link.
    """
    removed = []
    for link in links:
        end = _END_OF_LINK.search(link)
        if end is None:
            raise ValueError(f"{link!r} is no link of a resource")
        removed.append({**end.groupdict(), "state": "absent"})
    return removed


def host_keys(readings: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """The host keys of instances, as the module known_hosts takes them.

    :param readings: the results of a loop of gce_resource_info over instances. One that was skipped has no attributes.
    :returns: dicts with `name`, under which ssh looks the key up, and `key`, its type and itself.
    """
    return [
        {"name": f"compute.{reading['item']['id']}", "key": f"{key_type} {key}"}
        for reading in readings
        for key_type, key in reading.get("guest_attributes", {}).items()
    ]


class FilterModule:
    """The functions of this file as filters. Each is documented in a file of its name beside this one."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "gce_resources": resources,
            "gce_instances": instances,
            "gce_surplus": surplus,
            "gce_remaining": remaining,
            "gce_removals": removals,
            "gce_host_keys": host_keys,
        }
