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
    "n1-standard-1": (1, 3840, False),
    "n2-standard-2": (2, 8192, False),
    "t2a-standard-1": (1, 4096, False),
}
# The CPU platforms that instances of a series may be asked for, oldest first. The other series take none.
CPU_PLATFORMS = {
    "n1": ("Intel Sandy Bridge", "Intel Ivy Bridge", "Intel Haswell", "Intel Broadwell", "Intel Skylake"),
    "n2": ("Intel Cascade Lake", "Intel Ice Lake"),
}
# What an instance of a series has for its platform where nobody asked for one.
REQUIRED_PLATFORMS = {"n2": "Intel Cascade Lake"}
DISK_TYPES = {"pd-standard", "pd-balanced", "pd-ssd"}


def architecture(machine_type: str) -> str:
    """Of a machine type's processor."""
    return "ARM64" if machine_type.startswith("t2a-") else "X86_64"


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
        platforms = [platform for of_series in CPU_PLATFORMS.values() for platform in of_series]
        about = {"description": zone, "availableCpuPlatforms": platforms}
        yield "zone", path, {"status": "UP", "region": region, **about}
        for name, (cpus, megabytes, is_shared) in MACHINE_TYPES.items():
            size = {"guestCpus": cpus, "memoryMb": megabytes, "isSharedCpu": is_shared}
            about = {"zone": zone, "architecture": architecture(name)}
            yield "machineType", f"{path}/machineTypes/{name}", {**size, **about}
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
