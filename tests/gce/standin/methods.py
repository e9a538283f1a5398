"""What each kind of resource does, method by method.

A function collection_method takes the state and a request, refuses what Google refuses, and returns what the operation
does at its end. What is missing here is not silently accepted: compute.py reports it as a bug.
"""

from __future__ import annotations

import ipaddress
import json
import re
from typing import TYPE_CHECKING

from tests.gce.standin.base import PROJECT, REGIONS, WEB, Effect, Request, Resource, fingerprint, shown
from tests.gce.standin.failures import FailureError, in_use, invalid, not_found
from tests.gce.standin.offerings import DISK_TYPES, MACHINE_TYPES

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute

FAMILIES = {
    "debian-12": "debian-cloud",
    "debian-13": "debian-cloud",
    "ubuntu-2204-lts": "ubuntu-os-cloud",
    "ubuntu-2404-lts-amd64": "ubuntu-os-cloud",
}
IMAGE_GB = 10

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_TAG = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_PROTOCOLS = {"tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all"}
_WITH_PORTS = {"tcp", "udp", "sctp", "6", "17", "132"}


def networks_insert(compute: Compute, request: Request) -> Effect:
    """Auto mode only: an auto network has a subnetwork in each region."""
    if request.body.get("autoCreateSubnetworks") is not True:
        raise NotImplementedError("networks other than in auto mode")
    subnetworks = [f"{WEB}projects/{PROJECT}/regions/{r}/subnetworks/{request.name}" for r in REGIONS]
    routing = {"routingConfig": {"routingMode": "REGIONAL"}}
    compute.add(request.path, {**routing, **request.body, "subnetworks": subnetworks})
    return _nothing


def networks_delete(compute: Compute, request: Request) -> Effect:
    """Refused while something is in it."""
    compute.find(request.path)
    for instance in compute.all("instances"):
        if any(interface["network"] == WEB + request.path for interface in instance["networkInterfaces"]):
            raise in_use(request.path, _path(instance["selfLink"]))
    for rule in compute.all("firewalls"):
        if rule["network"] == WEB + request.path:
            raise in_use(request.path, _path(rule["selfLink"]))
    return lambda: _drop(compute, request.path)


def firewalls_insert(compute: Compute, request: Request) -> Effect:
    """A new rule."""
    compute.add(request.path, _rule(compute, request.body))
    return compute.apply_network


def firewalls_update(compute: Compute, request: Request) -> Effect:
    """PUT: what isn't sent is what it is by default."""
    return _change_rule(compute, request, request.body)


def firewalls_patch(compute: Compute, request: Request) -> Effect:
    """PATCH: what isn't sent stays, null takes away."""
    live = compute.find(request.path)
    kept = {name: value for name, value in live.items() if name in _RULE_FIELDS}
    merged = {**kept, **request.body}
    return _change_rule(compute, request, {name: value for name, value in merged.items() if value is not None})


def firewalls_delete(compute: Compute, request: Request) -> Effect:
    """Its ports are closed when it is gone."""
    compute.find(request.path)

    def effect() -> None:
        _drop(compute, request.path)
        compute.apply_network()

    return effect


_RULE_FIELDS = {
    *("name", "description", "network", "priority", "direction", "disabled", "allowed", "denied", "logConfig"),
    *(
        "sourceRanges",
        "destinationRanges",
        "sourceTags",
        "targetTags",
        "sourceServiceAccounts",
        "targetServiceAccounts",
    ),
}


# What the bodies of these methods may have here. The rest of what Google knows is not silently taken.
ACCEPTED = {
    "compute.networks.insert": {"name", "description", "autoCreateSubnetworks", "routingConfig", "mtu"},
    **{f"compute.firewalls.{verb}": _RULE_FIELDS for verb in ("insert", "update", "patch")},
    "compute.addresses.insert": {"name", "description", "addressType", "networkTier", "labels"},
    "compute.globalAddresses.insert": {"name", "description", "addressType", "networkTier", "labels"},
    "compute.disks.insert": {"name", "description", "type", "sizeGb", "labels", "sourceImage"},
    "compute.instances.insert": {
        *("name", "description", "machineType", "disks", "networkInterfaces", "metadata", "tags", "labels"),
        *("scheduling", "shieldedInstanceConfig", "serviceAccounts", "deletionProtection", "canIpForward"),
    },
    "compute.instances.addAccessConfig": {"name", "type", "natIP", "networkTier"},
}
_DISK_FIELDS = {"boot", "autoDelete", "source", "initializeParams", "deviceName", "mode", "type", "interface"}
_INTERFACE_FIELDS = {"network", "accessConfigs", "stackType"}


def _require_fields(given: Resource, accepted: set[str]) -> None:
    unknown = sorted(given.keys() - accepted)
    if unknown:
        raise NotImplementedError(f"an instance with {unknown}")


def _change_rule(compute: Compute, request: Request, body: Resource) -> Effect:
    live = compute.find(request.path)
    if body.get("name", request.name) != request.name:
        raise invalid("Invalid value for field 'resource.name': a name can't be changed")
    new = _rule(compute, body)
    for name in ("network", "direction"):
        if new[name] != live[name]:
            raise invalid(
                f"Invalid value for field 'resource.{name}': '{new[name]}'. Firewall {name} cannot be updated."
            )

    def effect() -> None:
        with compute.lock:
            for name in _RULE_FIELDS - {"name"}:
                live.pop(name, None)
            live.update(new, name=request.name)
        compute.apply_network()

    return effect


def _rule(compute: Compute, body: Resource) -> Resource:
    defaults = {"priority": 1000, "direction": "INGRESS", "disabled": False, "logConfig": {"enable": False}}
    network = _find(compute, body.get("network", "global/networks/default"))["selfLink"]
    rule = {**defaults, **body, "network": network}
    if bool(rule.get("allowed")) == bool(rule.get("denied")):
        raise invalid("Invalid value for field 'resource.allowed': one of allowed and denied is required")
    for entry in rule.get("allowed", []) + rule.get("denied", []):
        _check_ports(entry)
    for name in ("sourceRanges", "destinationRanges"):
        versions = {_check_range(name, text) for text in rule.get(name, [])}
        if len(versions) > 1:
            raise invalid(f"Invalid value for field 'resource.{name}': IPv4 and IPv6 ranges cannot be mixed.")
    for tag in rule.get("sourceTags", []) + rule.get("targetTags", []):
        if not _TAG.fullmatch(tag):
            raise invalid(f"Invalid value for field 'resource.targetTags[0]': '{tag}'. Must be a match of a tag.")
    _check_ends(rule)
    if rule["direction"] == "INGRESS" and not (rule.get("sourceRanges") or rule.get("sourceTags")):
        rule["sourceRanges"] = ["0.0.0.0/0"]
    if not 0 <= rule["priority"] <= 65535:
        raise invalid(f"Invalid value for field 'resource.priority': '{rule['priority']}'. Must be less than 65536")
    return rule


def _check_ends(rule: Resource) -> None:
    other_way = {"INGRESS": ("destinationRanges",), "EGRESS": ("sourceRanges", "sourceTags", "sourceServiceAccounts")}
    for name in other_way[rule["direction"]]:
        # Google takes the destinations of an ingress rule, too; nothing here would carry them out.
        if rule.get(name) and name == "destinationRanges":
            raise NotImplementedError("an ingress rule with destinations")
        if rule.get(name):
            raise invalid(f"Invalid value for field 'resource.{name}': not for rules of direction EGRESS.")
    has_accounts = rule.get("sourceServiceAccounts") or rule.get("targetServiceAccounts")
    if has_accounts and (rule.get("sourceTags") or rule.get("targetTags")):
        raise invalid("Invalid value for field 'resource': tags and service accounts cannot be mixed in a rule.")


def _check_ports(entry: Resource) -> None:
    if "IPProtocol" not in entry:
        raise invalid("Invalid value for field 'resource.allowed[0].IPProtocol': ''. Required field was not specified.")
    protocol = entry["IPProtocol"].lower()
    if protocol not in _PROTOCOLS and not (protocol.isdigit() and int(protocol) <= 255):
        raise invalid(f"Invalid value for field 'resource.allowed[0].IPProtocol': '{protocol}'.")
    if entry.get("ports") and protocol not in _WITH_PORTS:
        raise invalid(f"Invalid value for field 'resource.allowed[0].ports': {protocol} has no ports.")
    for port in entry.get("ports", []):
        first, _, last = port.partition("-")
        if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first) <= 65535):
            raise invalid(
                f"Invalid value for field 'resource.allowed[0].ports[0]': '{port}'. Ports may only be 0 to 65535"
            )


def _check_range(name: str, text: str) -> int:
    try:
        return ipaddress.ip_network(text).version
    except ValueError as error:
        raise invalid(
            f"Invalid value for field 'resource.{name}[0]': '{text}'. Must be a valid CIDR: {error}"
        ) from None


def addresses_insert(compute: Compute, request: Request) -> Effect:
    """Reserves one of TEST-NET-3."""
    if request.body.get("addressType", "EXTERNAL") != "EXTERNAL":
        raise NotImplementedError("internal addresses")
    defaults = {"addressType": "EXTERNAL", "networkTier": "PREMIUM"}
    if "labels" in request.body:
        raise invalid("Invalid value for field 'resource.labels': labels of an address can only be set by setLabels.")
    address = compute.add(request.path, {**defaults, **request.body, **_labelled({}), "status": "RESERVING"})

    def effect() -> None:
        with compute.lock:
            address.update(address=_free_address(compute), status="RESERVED")

    return effect


def addresses_delete(compute: Compute, request: Request) -> Effect:
    """Refused while it is used."""
    users = compute.find(request.path).get("users")
    if users:
        raise in_use(request.path, _path(users[0]))
    return lambda: _drop(compute, request.path)


def disks_insert(compute: Compute, request: Request) -> Effect:
    """From an image."""
    disk = compute.add(request.path, _disk(compute, request, request.body))

    def effect() -> None:
        disk["status"] = "READY"

    return effect


def _disk(compute: Compute, request: Request, body: Resource) -> Resource:
    kind = body.get("type", f"{request.scope}/diskTypes/pd-standard").rpartition("/")[2]
    if kind not in DISK_TYPES:
        raise not_found(f"projects/{PROJECT}/{request.scope}/diskTypes/{kind}")
    if "sourceImage" not in body:
        raise NotImplementedError("disks without an image")
    image = _source_image(compute, _whole(body["sourceImage"]))
    size = int(body.get("sizeGb", image["diskSizeGb"]))
    if size < int(image["diskSizeGb"]):
        raise invalid(
            f"Invalid value for field 'resource.sizeGb': '{size}'. Disk size must be at least that of the image"
        )
    return {
        **body,
        **_labelled(body.get("labels", {})),
        "type": f"{WEB}projects/{PROJECT}/{request.scope}/diskTypes/{kind}",
        "sourceImage": image["selfLink"],
        "sourceImageId": image["id"],
        "sizeGb": str(size),
        "physicalBlockSizeBytes": "4096",
        "status": "CREATING",
        "_family": image.get("family", ""),
    }


def disks_delete(compute: Compute, request: Request) -> Effect:
    """Refused while an instance has it."""
    users = compute.find(request.path).get("users")
    if users:
        raise in_use(request.path, _path(users[0]))
    return lambda: _drop(compute, request.path)


def disks_resize(compute: Compute, request: Request) -> Effect:
    """Upwards only."""
    disk = compute.find(request.path)
    size = int(request.body["sizeGb"])
    if size <= int(disk["sizeGb"]):
        raise invalid(
            f"Invalid value for field 'sizeGb': '{size}'. New disk size must be larger than {disk['sizeGb']} GB."
        )
    return lambda: disk.update(sizeGb=str(size))


def images_delete(compute: Compute, request: Request) -> Effect:
    """Gone."""
    compute.find(request.path)
    return lambda: _drop(compute, request.path)


snapshots_delete = images_delete


def images_get_from_family(compute: Compute, request: Request) -> Resource:
    """The newest of the project's own images in a family."""
    return shown(_newest_of_family(compute, request.name))


def _newest_of_family(compute: Compute, family: str) -> Resource:
    found = [image for image in compute.all("images") if image.get("family") == family]
    if not found:
        raise not_found(f"projects/{PROJECT}/global/images/family/{family}")
    return max(found, key=lambda image: int(image["id"]))


def _source_image(compute: Compute, path: str) -> Resource:
    own = f"projects/{PROJECT}/global/images/"
    if not path.startswith(own):
        return _image(path)
    name = path.removeprefix(own)
    if name.startswith("family/"):
        return _newest_of_family(compute, name.removeprefix("family/"))
    return compute.find(path)


def instances_insert(compute: Compute, request: Request) -> Effect:
    """Boots a machine from a disk that is there."""
    body = request.body
    machine_type = _machine_type(request, body.get("machineType", ""))
    interface = _interface(compute, request, body)
    tags = _fingerprinted(body.get("tags", {}))
    metadata = _fingerprinted(body.get("metadata", {}))
    scheduling = _scheduling(body.get("scheduling", {}))
    labelled = _labelled(body.get("labels", {}))
    # The last of what can be refused: a disk that is made here is there.
    disk = _boot_disk(compute, request, body)
    instance = compute.add(
        request.path,
        {
            "canIpForward": False,
            "deletionProtection": False,
            "startRestricted": False,
            **body,
            **labelled,
            "machineType": machine_type,
            "tags": tags,
            "metadata": {"kind": "compute#metadata", **metadata},
            "scheduling": scheduling,
            "shieldedInstanceConfig": _shielded(body.get("shieldedInstanceConfig", {})),
            "disks": [_attached(body["disks"][0], disk)],
            "networkInterfaces": [interface],
            "fingerprint": fingerprint(request.name),
            "status": "PROVISIONING",
        },
    )
    disk["users"] = [instance["selfLink"]]
    _take_address(compute, instance)

    def effect() -> None:
        address = compute.machines.create(request.name, disk["_family"], _metadata(instance))
        interface["networkIP"] = address
        instance["status"] = "STAGING"
        compute.machines.set_metadata(request.name, _metadata(instance))
        _run(compute, instance)

    return effect


def instances_delete(compute: Compute, request: Request) -> Effect:
    """With its disk, if that is marked so."""
    instance = compute.find(request.path)
    if instance["deletionProtection"]:
        raise invalid(
            f"Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion: {request.path}'."
        )
    _require_not(instance, "STOPPING", "PROVISIONING", "STAGING")
    instance["status"] = "STOPPING"

    def effect() -> None:
        compute.machines.delete(request.name)
        with compute.lock:
            _give_address(compute, instance)
            for attached in instance["disks"]:
                path = _path(attached["source"])
                compute.resources[path].pop("users")
                if attached["autoDelete"]:
                    _drop(compute, path)
            _drop(compute, request.path)
        compute.apply_network()

    return effect


def instances_set_tags(compute: Compute, request: Request) -> Effect:
    """All tags, with the fingerprint of the old ones."""
    return _with_fingerprint(compute, request, "tags", compute.apply_network)


def instances_set_metadata(compute: Compute, request: Request) -> Effect:
    """All metadata, with the fingerprint of the old ones."""
    instance = compute.find(request.path)

    def tell() -> None:
        compute.machines.set_metadata(request.name, _metadata(instance))

    return _with_fingerprint(compute, request, "metadata", tell)


def _with_fingerprint(compute: Compute, request: Request, name: str, then: Effect) -> Effect:
    instance = compute.find(request.path)
    if request.body.get("fingerprint") != instance[name]["fingerprint"]:
        raise _stale(name)
    new = _fingerprinted(request.body)
    old = instance[name]["fingerprint"]

    def effect() -> None:
        with compute.lock:
            if instance[name]["fingerprint"] != old:
                raise _stale(name)
            instance[name] = {**instance[name], **new}
        then()

    return effect


def instances_set_labels(compute: Compute, request: Request) -> Effect:
    """All labels, with the fingerprint of the old ones."""
    resource = compute.find(request.path)
    if request.body.get("labelFingerprint") != resource["labelFingerprint"]:
        message = "Labels fingerprint either invalid or resource labels have changed"
        raise FailureError(412, "conditionNotMet", message)
    labels = _labelled(request.body.get("labels", {}))
    return lambda: resource.update(labels)


disks_set_labels = addresses_set_labels = images_set_labels = snapshots_set_labels = instances_set_labels


def _stale(name: str) -> FailureError:
    return FailureError(412, "conditionNotMet", f"Supplied fingerprint does not match current {name} fingerprint.")


def instances_set_machine_type(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one."""
    instance = _stopped(compute, request)
    new = _machine_type(request, request.body["machineType"])
    return lambda: instance.update(machineType=new)


def instances_set_service_account(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one; without an e-mail address there is none any more."""
    instance = _stopped(compute, request)
    accounts = [request.body] if request.body.get("email") else []
    return lambda: instance.update(serviceAccounts=accounts)


def instances_update_shielded_instance_config(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one."""
    instance = _stopped(compute, request)
    return lambda: instance["shieldedInstanceConfig"].update(request.body)


def instances_set_scheduling(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one; what isn't sent is what it is by default, but a spot instance stays one."""
    instance = _stopped(compute, request)
    new = _scheduling(request.body)
    for name in ("provisioningModel", "preemptible"):
        if new[name] != instance["scheduling"][name]:
            raise invalid(f"Invalid value for field 'scheduling.{name}': Scheduling {name} cannot be changed.")
    return lambda: instance.update(scheduling=new)


def instances_set_deletion_protection(compute: Compute, request: Request) -> Effect:
    """By a query parameter."""
    instance = compute.find(request.path)
    return lambda: instance.update(deletionProtection=request.query.get("deletionProtection", "true") == "true")


def instances_delete_access_config(compute: Compute, request: Request) -> Effect:
    """Takes the external address away."""
    instance = compute.find(request.path)
    _require_nic0(request)
    names = [config["name"] for config in instance["networkInterfaces"][0].get("accessConfigs", [])]
    if request.query["accessConfig"] not in names:
        raise invalid(
            f"Invalid value for field 'accessConfig': '{request.query['accessConfig']}'. There is none of this name."
        )

    def effect() -> None:
        with compute.lock:
            _give_address(compute, instance)
            instance["networkInterfaces"][0]["accessConfigs"] = []
        compute.apply_network()

    return effect


def instances_add_access_config(compute: Compute, request: Request) -> Effect:
    """Gives an external address."""
    instance = compute.find(request.path)
    _require_nic0(request)
    if instance["networkInterfaces"][0].get("accessConfigs"):
        raise invalid("Invalid value for field 'resource': At most one access config currently supported.")
    config = _access_config(compute, request, request.body)

    def effect() -> None:
        with compute.lock:
            instance["networkInterfaces"][0]["accessConfigs"] = [config]
            # Without its machine running, an instance has only addresses that are reserved.
            if instance["status"] == "RUNNING" or "natIP" in config:
                _take_address(compute, instance)
        compute.apply_network()

    return effect


def instances_start(compute: Compute, request: Request) -> Effect:
    """Of a stopped one."""
    instance = _stopped(compute, request)
    instance["status"] = "STAGING"

    def effect() -> None:
        compute.machines.start(request.name)
        with compute.lock:
            _take_address(compute, instance)
        _run(compute, instance)

    return effect


def instances_stop(compute: Compute, request: Request) -> Effect:
    """An ephemeral address goes with it. What is stopped stays so."""
    instance = compute.find(request.path)
    if instance["status"] == "TERMINATED":
        return _nothing
    _require_not(instance, "STOPPING", "PROVISIONING", "STAGING")
    instance["status"] = "STOPPING"

    def effect() -> None:
        compute.machines.stop(request.name)
        with compute.lock:
            for config in instance["networkInterfaces"][0].get("accessConfigs", []):
                if not _reservation(compute, config.get("natIP")):
                    config.pop("natIP", None)
            instance["status"] = "TERMINATED"
        compute.apply_network()

    return effect


def instances_reset(compute: Compute, request: Request) -> Effect:
    """Of a running one."""
    instance = compute.find(request.path)
    if instance["status"] != "RUNNING":
        raise invalid(f"The resource '{request.path}' is not ready", "resourceNotReady")
    return lambda: compute.machines.reset(request.name)


def instances_get_guest_attributes(compute: Compute, request: Request) -> Resource:
    """The host keys, if that was enabled when the machine was made."""
    instance = compute.find(request.path)
    query = request.query.get("queryPath", "")
    if query != "hostkeys/":
        raise NotImplementedError("guest attributes other than hostkeys/")
    enabled = _metadata(instance).get("enable-guest-attributes", "").upper() == "TRUE"
    keys = compute.machines.host_keys(request.name) if enabled and instance["status"] == "RUNNING" else {}
    if not keys:
        raise not_found(f"{request.path}/getGuestAttributes")
    items = [{"namespace": "hostkeys", "key": name, "value": key} for name, key in keys.items()]
    return {
        "kind": "compute#guestAttributes",
        "queryPath": query,
        "queryValue": {"items": items},
        "selfLink": WEB + request.path,
    }


def public_image(request: Request) -> Resource:
    """Images of Google's own projects; everything else in another project is none of ours."""
    project = request.method.parameters["project"]
    if project not in FAMILIES.values():
        raise not_found(f"projects/{project}")
    if request.method.id not in ("compute.images.get", "compute.images.getFromFamily"):
        raise NotImplementedError(f"{request.method.id} in {project}")
    family = "family/" if request.method.id.endswith("Family") else ""
    return _image(f"projects/{project}/global/images/{family}{request.name}")


def _image(path: str) -> Resource:
    matched = re.fullmatch(r"projects/([^/]+)/global/images/(?:family/)?(.+?)(?:-v20260901)?", path)
    if not matched or FAMILIES.get(matched[2]) != matched[1]:
        raise not_found(path)
    name = f"{matched[2]}-v20260901"
    return {
        "kind": "compute#image",
        "id": "1",
        "name": name,
        "family": matched[2],
        "status": "READY",
        "diskSizeGb": str(IMAGE_GB),
        "selfLink": f"{WEB}projects/{matched[1]}/global/images/{name}",
    }


def _boot_disk(compute: Compute, request: Request, body: Resource) -> Resource:
    disks = body.get("disks", [])
    if len(disks) != 1 or not disks[0].get("boot"):
        raise invalid("Invalid value for field 'resource.disks': exactly one boot disk is what this stand-in knows")
    _require_fields(disks[0], _DISK_FIELDS)
    if "initializeParams" in disks[0]:
        if "source" in disks[0]:
            raise invalid("Invalid value for field 'resource.disks[0]': either source or initializeParams")
        return _disk_of_instance(compute, request, disks[0]["initializeParams"])
    disk = _find(compute, disks[0].get("source", ""))
    if disk.get("users"):
        raise in_use(_path(disk["selfLink"]), _path(disk["users"][0]))
    if disk["status"] != "READY":
        raise invalid(f"The resource '{_path(disk['selfLink'])}' is not ready", "resourceNotReady")
    return disk


def _disk_of_instance(compute: Compute, request: Request, params: Resource) -> Resource:
    names = {"diskSizeGb": "sizeGb", "diskType": "type", "sourceImage": "sourceImage", "labels": "labels"}
    _require_fields(params, {*names, "diskName", "description"})
    body = {names.get(name, name): value for name, value in params.items() if name != "diskName"}
    path = request.path.replace("/instances/", "/disks/").rpartition("/")[0]
    disk = {**_disk(compute, request, body), "status": "READY"}
    return compute.add(f"{path}/{params.get('diskName', request.name)}", disk)


def _attached(given: Resource, disk: Resource) -> Resource:
    defaults = {"kind": "compute#attachedDisk", "type": "PERSISTENT", "mode": "READ_WRITE", "autoDelete": False}
    kept = {name: value for name, value in given.items() if name != "initializeParams"}
    place = {"deviceName": "persistent-disk-0", "index": 0, "interface": "SCSI", "diskSizeGb": disk["sizeGb"]}
    return {**defaults, **place, **kept, "source": disk["selfLink"]}


def _interface(compute: Compute, request: Request, body: Resource) -> Resource:
    interfaces = body.get("networkInterfaces", [])
    if len(interfaces) != 1:
        raise invalid("Invalid value for field 'resource.networkInterfaces': exactly one is what this stand-in knows")
    _require_fields(interfaces[0], _INTERFACE_FIELDS)
    if interfaces[0].get("stackType", "IPV4_ONLY") != "IPV4_ONLY":
        raise NotImplementedError("IPv6")
    network = _find(compute, interfaces[0].get("network", "global/networks/default"))
    configs = [_access_config(compute, request, config) for config in interfaces[0].get("accessConfigs", [])]
    if len(configs) > 1:
        raise invalid("Invalid value for field 'resource.networkInterfaces[0].accessConfigs': at most one")
    return {
        "kind": "compute#networkInterface",
        "name": "nic0",
        "network": network["selfLink"],
        "subnetwork": next(link for link in network["subnetworks"] if f"/{_region(request)}/" in link),
        "stackType": "IPV4_ONLY",
        "accessConfigs": configs,
        "fingerprint": fingerprint(request.name),
    }


def _access_config(compute: Compute, request: Request, given: Resource) -> Resource:
    _require_fields(given, ACCEPTED["compute.instances.addAccessConfig"])
    address = given.get("natIP")
    reservation = _reservation(compute, address)
    if address and (not reservation or f"/regions/{_region(request)}/" not in reservation["selfLink"]):
        raise invalid(
            f"Invalid value for field 'resource.networkInterfaces[0].accessConfigs[0].natIP': '{address}'. "
            "The specified external IP address was not found."
        )
    if reservation and reservation.get("users"):
        raise invalid(
            f"Specified IP address is in-use and would result in a conflict: '{address}'", "invalidResourceUsage"
        )
    defaults = {"type": "ONE_TO_ONE_NAT", "name": "External NAT", "networkTier": "PREMIUM"}
    return {"kind": "compute#accessConfig", **defaults, **given}


def _take_address(compute: Compute, instance: Resource) -> None:
    for config in instance["networkInterfaces"][0].get("accessConfigs", []):
        config.setdefault("natIP", _free_address(compute))
        reservation = _reservation(compute, config["natIP"])
        if reservation:
            reservation.update(status="IN_USE", users=[instance["selfLink"]])


def _give_address(compute: Compute, instance: Resource) -> None:
    for config in instance["networkInterfaces"][0].get("accessConfigs", []):
        reservation = _reservation(compute, config.get("natIP"))
        if reservation:
            reservation.update(status="RESERVED", users=[])


def _reservation(compute: Compute, address: str | None) -> Resource | None:
    found = (
        r for path, r in compute.resources.items() if "/addresses/" in path and address and r.get("address") == address
    )
    return next(found, None)


def _free_address(compute: Compute) -> str:
    with compute.lock:
        text = json.dumps(list(compute.resources.values()))
        return next(str(host) for host in compute.machines.external_network.hosts() if f'"{host}"' not in text)


def _scheduling(given: Resource) -> Resource:
    is_spot = given.get("provisioningModel") == "SPOT" or given.get("preemptible") is True
    if is_spot and (given.get("automaticRestart") or given.get("onHostMaintenance") == "MIGRATE"):
        raise invalid(
            "Invalid value for field 'resource.scheduling': preemptible instances are neither restarted nor migrated"
        )
    defaults = {
        "provisioningModel": "SPOT" if is_spot else "STANDARD",
        "preemptible": is_spot,
        "automaticRestart": not is_spot,
        "onHostMaintenance": "TERMINATE" if is_spot else "MIGRATE",
    }
    if given.get("instanceTerminationAction") and not is_spot:
        raise invalid("Invalid value for field 'resource.scheduling.instanceTerminationAction': only of spot instances")
    return {**defaults, **given}


def _shielded(given: Resource) -> Resource:
    return {"enableSecureBoot": False, "enableVtpm": True, "enableIntegrityMonitoring": True, **given}


def _labelled(labels: dict[str, str]) -> Resource:
    if len(labels) > 64:
        raise invalid("Invalid value for field 'resource.labels': at most 64 labels")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise invalid(
                f"Invalid value for field 'resource.labels': '{key}={value}'. Label keys and values are lower case."
            )
    return {"labels": labels, "labelFingerprint": fingerprint(labels)}


def _fingerprinted(given: Resource) -> Resource:
    items = given.get("items", [])
    keys = [item.get("key") if isinstance(item, dict) else item for item in items]
    if None in keys or len(set(keys)) < len(keys):
        raise invalid(f"Invalid value for field 'items': '{keys}'. Keys are required, and each only once.")
    return {"items": items, "fingerprint": fingerprint(items)}


def _metadata(instance: Resource) -> dict[str, str]:
    return {item["key"]: item.get("value", "") for item in instance["metadata"].get("items", [])}


def _machine_type(request: Request, given: str) -> str:
    name = given.rpartition("/")[2]
    path = f"projects/{PROJECT}/{request.scope}/machineTypes/{name}"
    if name not in MACHINE_TYPES or _whole(given) != path:
        raise not_found(_whole(given))
    return WEB + path


def _stopped(compute: Compute, request: Request) -> Resource:
    instance = compute.find(request.path)
    if instance["status"] != "TERMINATED":
        raise invalid(f"The instance must be stopped: '{request.path}' is {instance['status']}.", "resourceNotReady")
    return instance


def _require_not(instance: Resource, *statuses: str) -> None:
    if instance["status"] in statuses:
        path = _path(instance["selfLink"])
        raise invalid(f"The resource '{path}' is not ready: it is {instance['status']}", "resourceNotReady")


def _require_nic0(request: Request) -> None:
    if request.query["networkInterface"] != "nic0":
        raise invalid(f"Invalid value for field 'networkInterface': '{request.query['networkInterface']}'.")


def _run(compute: Compute, instance: Resource) -> None:
    with compute.lock:
        instance["status"] = "RUNNING"
    compute.apply_network()


def _region(request: Request) -> str:
    return request.method.parameters["zone"].rpartition("-")[0]


def _find(compute: Compute, given: str) -> Resource:
    return compute.find(_whole(given))


def _whole(given: str) -> str:
    path = _path(given)
    return path if path.startswith("projects/") else f"projects/{PROJECT}/{path}"


def _path(link: str) -> str:
    return re.sub(r"^https://(www|compute)\.googleapis\.com/compute/v1/", "", link)


def _drop(compute: Compute, path: str) -> None:
    with compute.lock:
        compute.resources.pop(path, None)


def _nothing() -> None:
    pass
