"""Images: the project's own, and those that Google offers. Snapshots go likewise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.gce.standin.base import PROJECT, WEB, Effect, Request, Resource, visible
from tests.gce.standin.failures import not_found

if TYPE_CHECKING:
    from tests.gce.standin.compute import Compute


FAMILIES = {
    "debian-12": "debian-cloud",
    "debian-12-arm64": "debian-cloud",
    "debian-13": "debian-cloud",
    "debian-13-arm64": "debian-cloud",
    "ubuntu-2204-lts": "ubuntu-os-cloud",
    "ubuntu-2404-lts-amd64": "ubuntu-os-cloud",
    "ubuntu-2404-lts-arm64": "ubuntu-os-cloud",
}
IMAGE_GB = 10


def delete(compute: Compute, request: Request) -> Effect:
    """Gone."""
    compute.find(request.path)
    return lambda: compute.remove(request.path)


def get_from_family(compute: Compute, request: Request) -> Resource:
    """The newest of the project's own images in a family."""
    return visible(_newest_of_family(compute, request.name))


def public(request: Request) -> Resource:
    """Images of Google's own projects; everything else in another project is none of ours."""
    project = request.method.parameters["project"]
    if project not in FAMILIES.values():
        raise not_found(f"projects/{project}")
    if request.method.id not in ("compute.images.get", "compute.images.getFromFamily"):
        raise NotImplementedError(f"{request.method.id} in {project}")
    family = "family/" if request.method.id.endswith("Family") else ""
    return _image(f"projects/{project}/global/images/{family}{request.name}")


def source_image(compute: Compute, path: str) -> Resource:
    """What a disk is made from: an image, or the newest of a family, of the project or of Google.

    :raises FailureError: 404.
    """
    own = f"projects/{PROJECT}/global/images/"
    if not path.startswith(own):
        return _image(path)
    name = path.removeprefix(own)
    if name.startswith("family/"):
        return _newest_of_family(compute, name.removeprefix("family/"))
    return compute.find(path)


def _newest_of_family(compute: Compute, family: str) -> Resource:
    images = [image for image in compute.all("images") if image.get("family") == family]
    if not images:
        raise not_found(f"projects/{PROJECT}/global/images/family/{family}")
    return max(images, key=lambda image: int(image["id"]))


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
        "architecture": "ARM64" if matched[2].endswith("-arm64") else "X86_64",
        "diskSizeGb": str(IMAGE_GB),
        "selfLink": f"{WEB}projects/{matched[1]}/global/images/{name}",
    }
