"""What the role gce_instance asks of Google: pure functions on its settings and on resources as the API has them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from ansible.module_utils.common.validation import check_type_dict

Resource = dict[str, Any]
Settings = dict[str, Any]

_STANDARD = {"provisioningModel": "STANDARD", "automaticRestart": True, "onHostMaintenance": "MIGRATE"}
_SPOT = {
    "provisioningModel": "SPOT",
    "automaticRestart": False,
    "onHostMaintenance": "TERMINATE",
    "instanceTerminationAction": "STOP",
}
# Series of machine types whose processor is Google's choice alone, and those whose processors are arm64.
_ANY_PROCESSOR = {"e2", "f1", "g1"}
_ARM_PROCESSOR = {"c4a", "n4a", "t2a"}
_PLATFORM = re.compile(r"(Intel|AMD) [A-Z][A-Za-z]*( [A-Z][A-Za-z]*)*")
_GOOGLE_S_IMAGE = re.compile(r"projects/(debian|ubuntu-os)-cloud/global/images/")
_TAG = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_METADATA_KEY = re.compile(r"[a-zA-Z0-9_-]{1,128}")
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
        {
            "kind": "addresses",
            "region": zone.rpartition("-")[0],
            "name": name,
            "body": {**_marked(settings), "networkTier": settings["network_tier"]},
        }
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
        access_config = {"type": "ONE_TO_ONE_NAT", "name": kind_of_address, "networkTier": settings["network_tier"]}
        if kind_of_address == "static":
            if name not in reserved:
                raise ValueError(f"no address is reserved for {name}")
            access_config["natIP"] = reserved[name]
        body = {
            **_marked(settings),
            "machineType": f"zones/{zone}/machineTypes/{settings['machine_type']}",
            # Without one, Google says of some types which one it chose: there is nothing to compare that with.
            **({"minCpuPlatform": settings["min_cpu_platform"]} if settings["min_cpu_platform"] else {}),
            "tags": {"items": list(dict.fromkeys(["http-server", "https-server", *settings["tags"]]))},
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


def surplus(existing: dict[str, list[Resource]], settings: Settings) -> list[str]:
    """What a deployment made and no longer wants, such as the second instance of one that has one now.

    :param existing: lists of resources as the API has them, by kind.
    :param settings: as `resources` takes them.
    :returns: links without the project.
    """
    wanted = [
        *resources(settings),
        *({"kind": "instances", "zone": settings["zone"], "name": name} for name in _names(settings)),
    ]
    kept = {(entry["kind"], entry.get("zone"), entry.get("region"), entry["name"]) for entry in wanted}
    whose = settings["deployment"], settings["mark"]
    links = [_short(found["selfLink"]) for found in _found(existing) if _is_own(found, *whose)]
    return [
        link
        for link, entry in zip(links, removals(links), strict=True)
        if (entry["kind"], entry["zone"], entry["region"], entry["name"]) not in kept
    ]


def foreign(existing: dict[str, list[Resource]], deployment: str, mark: str) -> list[str]:
    """What carries a deployment's label or mark, and was not made by it: a copy in the console takes both along.

    :param existing: lists of resources as the API has them, by kind.
    :param deployment: the name of the deployment.
    :param mark: the description of all that it makes.
    :returns: links without the project.
    """
    return [_short(found["selfLink"]) for found in _found(existing) if not _is_own(found, deployment, mark)]


def _found(existing: dict[str, list[Resource]]) -> list[Resource]:
    return [resource for resources_of_kind in existing.values() for resource in resources_of_kind]


def _is_own(found: Resource, deployment: str, mark: str) -> bool:
    is_named = re.fullmatch(rf"{re.escape(deployment)}-[1-9][0-9]*", found["name"])
    return bool(is_named) and found.get("description") == mark


def _short(link: str) -> str:
    return re.sub(r"^.*/projects/[^/]+/", "", link)


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
    return [_short(link) for link in (*labelled, *firewalls, *networks)]


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


def texts(value: Any, true: str, false: str) -> dict[str, Any]:
    """A dictionary whose values are texts, as Google has labels and metadata.

    :param value: a dictionary, or the text of one as Ansible's modules take it: JSON, or "a=1, b=2". Numbers and dates
        become texts, what is null an empty one. What has no text, such as a list, stays as it is: `mistakes` names it.
    :param true: what a truth becomes.
    :param false: what an untruth becomes.
    """
    return {str(key): _text(element, true, false) for key, element in check_type_dict(value or {}).items()}


def _text(value: Any, true: str, false: str) -> Any:
    if isinstance(value, bool):
        return true if value else false
    if isinstance(value, (list, dict)):
        return value
    return "" if value is None else str(value)


def mistakes(settings: Settings) -> list[str]:
    """What Google would refuse of a deployment's settings once a part of it is made, in words.

    :param settings: as `resources` takes them.
    """
    said = [_mistakes_of_sources(name, settings[name]) for name in ("ssh_sources", "http_sources", "flask_sources")]
    said += [_mistake_of_platform(settings), _mistake_of_image(settings)]
    for key, value in settings["labels"].items():
        if not _is_label(key, value):
            said.append(
                f"gce_instance_labels: {key}: {value!r} is no label. Its key begins with a lower-case letter, and not "
                "with goog-. Key and value have up to 63 lower-case letters, numbers, hyphens and underscores."
            )
    for tag in settings["tags"]:
        if not (isinstance(tag, str) and _TAG.fullmatch(tag)):
            said.append(
                f"gce_instance_tags: {tag!r} is no tag. A tag has up to 63 lower-case letters, numbers and hyphens, "
                "and begins with a letter."
            )
    for key, value in settings["metadata"].items():
        if not (_METADATA_KEY.fullmatch(key) and isinstance(value, str)):
            said.append(
                f"gce_instance_metadata: {key}: {value!r} is no entry. Its key has up to 128 letters, numbers, hyphens "
                "and underscores, its value is a text: a list is one as JSON (to_json)."
            )
    return [sentence for sentence in said if sentence]


def _mistake_of_platform(settings: Settings) -> str:
    platform, machine_type = settings["min_cpu_platform"], settings["machine_type"]
    if platform and not _PLATFORM.fullmatch(platform):
        return (
            f"gce_instance_min_cpu_platform: {platform!r} is no CPU platform. One is such as Intel Ice Lake; "
            f"`gcloud compute zones describe {settings['zone']}` lists those of the zone."
        )
    if platform and _series(machine_type) in _ANY_PROCESSOR:
        return (
            f"gce_instance_min_cpu_platform: Google takes no {platform!r} for {machine_type}, whose processor is its "
            "own choice. Leave it empty, or take another machine type, such as n2-standard-2."
        )
    return ""


def _mistake_of_image(settings: Settings) -> str:
    image, machine_type = settings["image"], settings["machine_type"]
    is_for_arm, has_arm = "arm64" in image, _series(machine_type) in _ARM_PROCESSOR
    if is_for_arm == has_arm or not _GOOGLE_S_IMAGE.search(image):
        return ""
    example = "debian-13-arm64" if has_arm else "debian-13"
    return (
        f"gce_instance_image: {image} is for {'arm64' if is_for_arm else 'x86-64'}, and the processor of "
        f"{machine_type} is {'arm64' if has_arm else 'x86-64'}. Take one that is for it, such as "
        f"projects/debian-cloud/global/images/family/{example}, or another machine type."
    )


def _series(machine_type: str) -> str:
    return machine_type.partition("-")[0]


def _mistakes_of_sources(name: str, sources: list[Any]) -> str:
    wrong = [source for source in sources if not _is_network(source)]
    if wrong:
        return (
            f"{wrong} of gce_instance_{name} are no networks. A network is one like 203.0.113.7/32, for one address, "
            "or 0.0.0.0/0, for all; `curl -4 https://ifconfig.me` tells yours."
        )
    if len({":" in source for source in sources}) > 1:
        return f"{sources} of gce_instance_{name} are IPv4 and IPv6: Google takes one of both in a rule. Leave one out."
    return ""


def _is_network(source: Any) -> bool:
    if not isinstance(source, str) or not source.partition("/")[2].isdigit():
        return False
    try:
        ipaddress.ip_network(source)
    except ValueError:
        return False
    return True


def _is_label(key: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    is_spelled = all(re.fullmatch(r"[\w-]{0,63}", part) and part == part.lower() for part in (key, value))
    return is_spelled and key[:1].isalpha() and not key.startswith("goog-")


class FilterModule:
    """The functions of this file as filters. Each is documented in a file of its name beside this one."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "gce_resources": resources,
            "gce_instances": instances,
            "gce_surplus": surplus,
            "gce_foreign": foreign,
            "gce_remaining": remaining,
            "gce_removals": removals,
            "gce_host_keys": host_keys,
            "gce_texts": texts,
            "gce_mistakes": mistakes,
        }
