"""What is there without anybody having made it: the project, its places, and what machines and disks can be had."""

from __future__ import annotations

from tests.gce.standin.base import PROJECT, REGIONS, WEB, ZONES, Resource

MACHINE_TYPES = {
    "e2-micro": (2, 1024, True),
    "e2-small": (2, 2048, True),
    "e2-medium": (2, 4096, True),
    "e2-standard-2": (2, 8192, False),
    "g1-small": (1, 1740, True),
    "n2-standard-2": (2, 8192, False),
}
DISK_TYPES = {"pd-standard", "pd-balanced", "pd-ssd"}

_HOME = f"projects/{PROJECT}"
_MADE = "1969-12-31T16:00:00.000-08:00"


def _entry(number: int, kind: str, path: str, **more: object) -> tuple[str, Resource]:
    name = path.rpartition("/")[2]
    known = {"kind": f"compute#{kind}", "name": name, "selfLink": WEB + path, "creationTimestamp": _MADE}
    return path, {"id": str(1000 + number), **known, **more}


def _machine_type(number: int, zone: str, name: str) -> tuple[str, Resource]:
    cpus, memory, is_shared = MACHINE_TYPES[name]
    more = {"guestCpus": cpus, "memoryMb": memory, "isSharedCpu": is_shared, "zone": zone}
    return _entry(number, "machineType", f"{_HOME}/zones/{zone}/machineTypes/{name}", **more)


def _disk_type(number: int, zone: str, name: str) -> tuple[str, Resource]:
    link = f"{WEB}{_HOME}/zones/{zone}"
    return _entry(number, "diskType", f"{_HOME}/zones/{zone}/diskTypes/{name}", zone=link, defaultDiskSizeGb="100")


def _zone(number: int, zone: str) -> tuple[str, Resource]:
    region = f"{WEB}{_HOME}/regions/{zone.rpartition('-')[0]}"
    return _entry(number, "zone", f"{_HOME}/zones/{zone}", status="UP", region=region, description=zone)


def _region(number: int, region: str) -> tuple[str, Resource]:
    zones = [f"{WEB}{_HOME}/zones/{region}-{letter}" for letter in REGIONS[region]]
    return _entry(number, "region", f"{_HOME}/regions/{region}", status="UP", zones=zones, description=region)


# By path, such as "projects/demo-project/zones/us-central1-a".
OFFERINGS: dict[str, Resource] = dict(
    [
        _entry(0, "project", _HOME, defaultNetworkTier="PREMIUM"),
        *(_region(100 + n, region) for n, region in enumerate(REGIONS)),
        *(_zone(200 + n, zone) for n, zone in enumerate(sorted(ZONES))),
        *(_machine_type(300 + n, zone, name) for zone in sorted(ZONES) for n, name in enumerate(MACHINE_TYPES)),
        *(_disk_type(400 + n, zone, name) for zone in sorted(ZONES) for n, name in enumerate(sorted(DISK_TYPES))),
    ]
)
