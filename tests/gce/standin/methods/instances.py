"""Instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gce.standin.base import PROJECT, WEB, Effect, Request, Resource, fingerprint, nothing, path_of, whole
from tests.gce.standin.failures import FailureError, in_use, invalid, not_found
from tests.gce.standin.methods import addresses, disks
from tests.gce.standin.methods.labels import labelled
from tests.gce.standin.offerings import CPU_PLATFORMS, MACHINE_TYPES, REQUIRED_PLATFORMS, architecture

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute


ACCEPTED = {
    "insert": {
        *("name", "description", "machineType", "disks", "networkInterfaces", "metadata", "tags", "labels"),
        *("scheduling", "shieldedInstanceConfig", "serviceAccounts", "deletionProtection", "canIpForward"),
        "minCpuPlatform",
    },
    "addAccessConfig": {"name", "type", "natIP", "networkTier"},
}
_DISK_FIELDS = {"boot", "autoDelete", "source", "initializeParams", "deviceName", "mode", "type", "interface"}
_INTERFACE_FIELDS = {"network", "accessConfigs", "stackType"}


def _require_fields(given: Resource, accepted: set[str]) -> None:
    unknown = sorted(given.keys() - accepted)
    if unknown:
        raise NotImplementedError(f"an instance with {unknown}")


def insert(compute: Compute, request: Request) -> Effect:
    """Boots a machine from a disk that is there."""
    body = request.body
    machine_type = _machine_type(request, body.get("machineType", ""))
    _require_platform(machine_type, body.get("minCpuPlatform", ""))
    interface = _interface(compute, request, body)
    tags = _fingerprinted(body.get("tags", {}))
    metadata = _fingerprinted(body.get("metadata", {}))
    scheduling = _scheduling(body.get("scheduling", {}))
    labels = labelled(body.get("labels", {}))
    # The last of what can be refused: a disk that is made here is there.
    disk = _boot_disk(compute, request, body)
    instance = compute.add(
        request.path,
        {
            "canIpForward": False,
            "deletionProtection": False,
            "startRestricted": False,
            **body,
            **labels,
            "machineType": machine_type,
            "tags": tags,
            "metadata": {"kind": "compute#metadata", **metadata},
            "scheduling": scheduling,
            "shieldedInstanceConfig": {
                "enableSecureBoot": False,
                "enableVtpm": True,
                "enableIntegrityMonitoring": True,
                **body.get("shieldedInstanceConfig", {}),
            },
            "disks": [_attached(body["disks"][0], disk)],
            "networkInterfaces": [interface],
            "fingerprint": fingerprint(request.name),
            "status": "PROVISIONING",
        },
    )
    disk["users"] = [instance["selfLink"]]
    addresses.take(compute, instance)

    def effect() -> None:
        address = compute.machines.create(request.name, disk["_family"], _metadata(instance))
        interface["networkIP"] = address
        instance["status"] = "STAGING"
        compute.machines.set_metadata(request.name, _metadata(instance))
        _run(compute, instance)

    return effect


def delete(compute: Compute, request: Request) -> Effect:
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
            addresses.give_back(compute, instance)
            for attached in instance["disks"]:
                path = path_of(attached["source"])
                compute.resources[path].pop("users")
                if attached["autoDelete"]:
                    compute.remove(path)
            compute.remove(request.path)
        compute.apply_network()

    return effect


def set_tags(compute: Compute, request: Request) -> Effect:
    """All tags, with the fingerprint of the old ones."""
    return _with_fingerprint(compute, request, "tags", compute.apply_network)


def set_metadata(compute: Compute, request: Request) -> Effect:
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


def _stale(name: str) -> FailureError:
    return FailureError(412, "conditionNotMet", f"Supplied fingerprint does not match current {name} fingerprint.")


def set_machine_type(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one."""
    instance = _stopped(compute, request)
    new = _machine_type(request, request.body["machineType"])
    _require_platform(new, instance.get("minCpuPlatform", ""))
    return lambda: instance.update(machineType=new)


def set_min_cpu_platform(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one; AUTOMATIC takes it away."""
    instance = _stopped(compute, request)
    platform = request.body.get("minCpuPlatform", "")
    if not platform:
        raise invalid("Invalid value for field 'minCpuPlatform': ''.")
    new = "" if platform.upper() == "AUTOMATIC" else platform
    _require_platform(instance["machineType"], new)
    return lambda: instance.update(minCpuPlatform=new)


def set_service_account(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one; without an e-mail address there is none any more."""
    instance = _stopped(compute, request)
    accounts = [request.body] if request.body.get("email") else []
    return lambda: instance.update(serviceAccounts=accounts)


def update_shielded_instance_config(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one."""
    instance = _stopped(compute, request)
    return lambda: instance["shieldedInstanceConfig"].update(request.body)


def set_scheduling(compute: Compute, request: Request) -> Effect:
    """Only of a stopped one; what isn't sent is what it is by default, but a spot instance stays one."""
    instance = _stopped(compute, request)
    new = _scheduling(request.body)
    for name in ("provisioningModel", "preemptible"):
        if new[name] != instance["scheduling"][name]:
            raise invalid(f"Invalid value for field 'scheduling.{name}': Scheduling {name} cannot be changed.")
    return lambda: instance.update(scheduling=new)


def set_deletion_protection(compute: Compute, request: Request) -> Effect:
    """By a query parameter."""
    instance = compute.find(request.path)
    return lambda: instance.update(deletionProtection=request.query.get("deletionProtection", "true") == "true")


def delete_access_config(compute: Compute, request: Request) -> Effect:
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
            addresses.give_back(compute, instance)
            instance["networkInterfaces"][0]["accessConfigs"] = []
        compute.apply_network()

    return effect


def add_access_config(compute: Compute, request: Request) -> Effect:
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
                addresses.take(compute, instance)
        compute.apply_network()

    return effect


def start(compute: Compute, request: Request) -> Effect:
    """Of a stopped one."""
    instance = _stopped(compute, request)
    instance["status"] = "STAGING"

    def effect() -> None:
        compute.machines.start(request.name)
        with compute.lock:
            addresses.take(compute, instance)
        _run(compute, instance)

    return effect


def resume(compute: Compute, request: Request) -> Effect:
    """Of a suspended one."""
    instance = compute.find(request.path)
    if instance["status"] != "SUSPENDED":
        raise invalid(f"The instance must be suspended: it is {instance['status']}.", "resourceNotReady")
    return lambda: _run(compute, instance)


def stop(compute: Compute, request: Request) -> Effect:
    """An ephemeral address goes with it. What is stopped stays so."""
    instance = compute.find(request.path)
    if instance["status"] == "TERMINATED":
        return nothing
    _require_not(instance, "STOPPING", "PROVISIONING", "STAGING")
    instance["status"] = "STOPPING"

    def effect() -> None:
        compute.machines.stop(request.name)
        with compute.lock:
            for config in instance["networkInterfaces"][0].get("accessConfigs", []):
                if not addresses.reservation(compute, config.get("natIP")):
                    config.pop("natIP", None)
            instance["status"] = "TERMINATED"
        compute.apply_network()

    return effect


def reset(compute: Compute, request: Request) -> Effect:
    """Of a running one."""
    instance = compute.find(request.path)
    if instance["status"] != "RUNNING":
        raise invalid(f"The resource '{request.path}' is not ready", "resourceNotReady")
    return lambda: compute.machines.reset(request.name)


def get_guest_attributes(compute: Compute, request: Request) -> Resource:
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


def _boot_disk(compute: Compute, request: Request, body: Resource) -> Resource:
    disks = body.get("disks", [])
    if len(disks) != 1 or not disks[0].get("boot"):
        raise invalid("Invalid value for field 'resource.disks': exactly one boot disk is what this stand-in knows")
    _require_fields(disks[0], _DISK_FIELDS)
    if "initializeParams" in disks[0]:
        if "source" in disks[0]:
            raise invalid("Invalid value for field 'resource.disks[0]': either source or initializeParams")
        return _disk_of_instance(compute, request, disks[0]["initializeParams"])
    disk = compute.find(disks[0].get("source", ""))
    if disk.get("users"):
        raise in_use(path_of(disk["selfLink"]), path_of(disk["users"][0]))
    if disk["status"] != "READY":
        raise invalid(f"The resource '{path_of(disk['selfLink'])}' is not ready", "resourceNotReady")
    _require_architecture(disk, body)
    return disk


def _disk_of_instance(compute: Compute, request: Request, params: Resource) -> Resource:
    names = {"diskSizeGb": "sizeGb", "diskType": "type", "sourceImage": "sourceImage", "labels": "labels"}
    _require_fields(params, {*names, "diskName", "description"})
    body = {names.get(name, name): value for name, value in params.items() if name != "diskName"}
    path = request.path.replace("/instances/", "/disks/").rpartition("/")[0]
    disk = {**disks.new_disk(compute, request, body), "status": "READY"}
    _require_architecture(disk, request.body)
    return compute.add(f"{path}/{params.get('diskName', request.name)}", disk)


def _require_architecture(disk: Resource, instance: Resource) -> None:
    machine_type = instance["machineType"].rpartition("/")[2]
    if disk["architecture"] != architecture(machine_type):
        raise invalid(
            f"Invalid value for field 'resource.disks[0]': the disk is for {disk['architecture']}, "
            f"and {machine_type} for {architecture(machine_type)}."
        )


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
    network = compute.find(interfaces[0].get("network", "global/networks/default"))
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
    _require_fields(given, ACCEPTED["addAccessConfig"])
    address = given.get("natIP")
    reservation = addresses.reservation(compute, address)
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
    config = {"kind": "compute#accessConfig", **defaults, **given}
    if reservation and reservation["networkTier"] != config["networkTier"]:
        raise invalid(
            f"The network tier of external IP address is {reservation['networkTier']}, that of the access config is "
            f"{config['networkTier']}: they must be the same."
        )
    return config


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
    if name not in MACHINE_TYPES or whole(given) != path:
        raise not_found(whole(given))
    return WEB + path


def _require_platform(machine_type: str, platform: str) -> None:
    name = machine_type.rpartition("/")[2]
    platforms = CPU_PLATFORMS.get(_series(machine_type), ())
    known = [each for of_series in CPU_PLATFORMS.values() for each in of_series]
    if platform and platform not in known:
        raise invalid(
            f"Invalid value for field 'resource.minCpuPlatform': '{platform}'. CPU platform unavailable in requested "
            f"zone. Valid options for this zone are: {', '.join(known)}."
        )
    if platform and not platforms:
        raise invalid(f"Setting minimum CPU platform is not supported for the selected machine type {name}.")
    if platform and platform not in platforms:
        raise invalid(
            f"The selected machine type ({name}) has a required CPU platform of {_code_name(platforms[0])}. "
            f"The minimum CPU platform must match this, but was {_code_name(platform)}.",
            "badRequest",
        )


def _code_name(platform: str) -> str:
    return platform.partition(" ")[2].replace(" ", "").lower()


def _series(machine_type: str) -> str:
    return machine_type.rpartition("/")[2].partition("-")[0]


def _stopped(compute: Compute, request: Request) -> Resource:
    instance = compute.find(request.path)
    if instance["status"] != "TERMINATED":
        raise invalid(f"The instance must be stopped: '{request.path}' is {instance['status']}.", "resourceNotReady")
    return instance


def _require_not(instance: Resource, *statuses: str) -> None:
    if instance["status"] in statuses:
        path = path_of(instance["selfLink"])
        raise invalid(f"The resource '{path}' is not ready: it is {instance['status']}", "resourceNotReady")


def _require_nic0(request: Request) -> None:
    if request.query["networkInterface"] != "nic0":
        raise invalid(f"Invalid value for field 'networkInterface': '{request.query['networkInterface']}'.")


def _run(compute: Compute, instance: Resource) -> None:
    with compute.lock:
        instance["status"] = "RUNNING"
        if not instance.get("minCpuPlatform"):
            instance["minCpuPlatform"] = REQUIRED_PLATFORMS.get(_series(instance["machineType"]), "")
    compute.apply_network()


def _region(request: Request) -> str:
    return request.method.parameters["zone"].rpartition("-")[0]
