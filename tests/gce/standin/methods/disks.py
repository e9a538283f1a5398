"""Disks, made from images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gce.standin.base import PROJECT, WEB, Effect, Request, Resource, path_of, whole
from tests.gce.standin.failures import in_use, invalid, not_found
from tests.gce.standin.methods import images
from tests.gce.standin.methods.labels import labelled
from tests.gce.standin.offerings import DISK_TYPES

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute


ACCEPTED = {"insert": {"name", "description", "type", "sizeGb", "labels", "sourceImage"}}


def insert(compute: Compute, request: Request) -> Effect:
    """From an image."""
    disk = compute.add(request.path, new_disk(compute, request, request.body))

    def effect() -> None:
        disk["status"] = "READY"

    return effect


def delete(compute: Compute, request: Request) -> Effect:
    """Refused while an instance has it."""
    users = compute.find(request.path).get("users")
    if users:
        raise in_use(request.path, path_of(users[0]))
    return lambda: compute.remove(request.path)


def resize(compute: Compute, request: Request) -> Effect:
    """Upwards only."""
    disk = compute.find(request.path)
    size = int(request.body["sizeGb"])
    if size <= int(disk["sizeGb"]):
        raise invalid(
            f"Invalid value for field 'sizeGb': '{size}'. New disk size must be larger than {disk['sizeGb']} GB."
        )
    return lambda: disk.update(sizeGb=str(size))


def new_disk(compute: Compute, request: Request, body: Resource) -> Resource:
    """A disk that is being made, from the body of its own insert or from that of an instance."""
    kind = body.get("type", f"{request.scope}/diskTypes/pd-standard").rpartition("/")[2]
    if kind not in DISK_TYPES:
        raise not_found(f"projects/{PROJECT}/{request.scope}/diskTypes/{kind}")
    if "sourceImage" not in body:
        raise NotImplementedError("disks without an image")
    image = images.source_image(compute, whole(body["sourceImage"]))
    size = int(body.get("sizeGb", image["diskSizeGb"]))
    if size < int(image["diskSizeGb"]):
        raise invalid(
            f"Invalid value for field 'resource.sizeGb': '{size}'. Disk size must be at least that of the image"
        )
    return {
        **body,
        **labelled(body.get("labels", {})),
        "type": f"{WEB}projects/{PROJECT}/{request.scope}/diskTypes/{kind}",
        "sourceImage": image["selfLink"],
        "sourceImageId": image["id"],
        "sizeGb": str(size),
        "physicalBlockSizeBytes": "4096",
        "architecture": image.get("architecture", "X86_64"),
        "status": "CREATING",
        "_family": image.get("family", ""),
    }
