"""What is there without anybody having made it: the project, its places, and what machines and disks can be had."""

from __future__ import annotations

from collections.abc import Iterator

from tests.gce.standin.base import PROJECT, REGIONS, WEB, ZONES, Resource

# Processors, memory in MB, and whether the processors are shared with others.
MACHINE_TYPES = {
    "e2-micro": (2, 1024, True),
    "e2-small": (2, 2048, True),
    "e2-medium": (2, 4096, True),
    "e2-standard-2": (2, 8192, False),
    "g1-small": (1, 1740, True),
    "n2-standard-2": (2, 8192, False),
}
DISK_TYPES = {"pd-standard", "pd-balanced", "pd-ssd"}


def _entries() -> Iterator[tuple[str, str, Resource]]:
    """The kind of each, its path, and what it has besides a name."""
    home = f"projects/{PROJECT}"
    yield "project", home, {"defaultNetworkTier": "PREMIUM"}
    for region, letters in REGIONS.items():
        links = [f"{WEB}{home}/zones/{region}-{letter}" for letter in letters]
        yield "region", f"{home}/regions/{region}", {"status": "UP", "zones": links, "description": region}
    for zone in sorted(ZONES):
        path = f"{home}/zones/{zone}"
        region = f"{WEB}{home}/regions/{zone.rpartition('-')[0]}"
        yield "zone", path, {"status": "UP", "region": region, "description": zone}
        for name, (cpus, megabytes, is_shared) in MACHINE_TYPES.items():
            size = {"guestCpus": cpus, "memoryMb": megabytes, "isSharedCpu": is_shared}
            yield "machineType", f"{path}/machineTypes/{name}", {**size, "zone": zone}
        for name in sorted(DISK_TYPES):
            yield "diskType", f"{path}/diskTypes/{name}", {"zone": WEB + path, "defaultDiskSizeGb": "100"}


# By path, such as "projects/demo-project/zones/us-central1-a".
OFFERINGS: dict[str, Resource] = {
    path: {
        "id": str(1000 + number),
        "kind": f"compute#{kind}",
        "name": path.rpartition("/")[2],
        "selfLink": WEB + path,
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        **fields,
    }
    for number, (kind, path, fields) in enumerate(_entries())
}
