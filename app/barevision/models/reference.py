"""What a model is called: ``WHAT[@SIZE][#sha256=HASH]``.

WHAT is a name of the catalogue, a folder, an ``.onnx`` file or the https address of one. SIZE is the side of the
network's input in pixels, or WIDTHxHEIGHT. HASH is the SHA-256 of the ``.weights`` or ``.onnx`` file, for models
of which the catalogue has none.

Ansible's filter plugins import this module, too: it needs Python's own library only.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from barevision.errors import ModelError
from barevision.network_limits import LARGEST_SIDE


@dataclass(frozen=True)
class Reference:
    """A model's name, taken apart.

    :ivar what: a name, a path or an address.
    :ivar size: (height, width) of the network's input in pixels; None for the model's own.
    :ivar sha256: 64 hexadecimal digits in lower case, or None.
    """

    what: str
    size: tuple[int, int] | None = None
    sha256: str | None = None

    @property
    def is_url(self) -> bool:
        """Whether `what` is an address rather than a name or a path."""
        return re.match("https?://", self.what, re.IGNORECASE) is not None


def parse_reference(text: str) -> Reference:
    """Takes ``WHAT[@SIZE][#sha256=HASH]`` apart. Where a file or folder has exactly this name, all of it is WHAT.

    :raises ModelError: the size or the hash can't be one.
    """
    # pathlib raises an error for a text that is too long to be a path; os.path says no.
    if os.path.exists(os.path.expanduser(text)):  # noqa: PTH110, PTH111
        return Reference(text)
    rest, *hashes = text.split("#sha256=")
    for sha256 in hashes:
        check_sha256(sha256)
    # A setting or an option may add one to a name that has one.
    if len({sha256.lower() for sha256 in hashes}) > 1:
        raise ModelError(f"{rest} is given {len(hashes)} sha256, {' and '.join(hashes)}; leave out the wrong one")
    sha256 = hashes[0].lower() if hashes else None
    what, separator, size = rest.rpartition("@")
    if not separator or "/" in size:
        return Reference(rest, None, sha256)
    match = re.fullmatch("([0-9]{1,5})(?:x([0-9]{1,5}))?", size)
    if match is None:
        if re.match("https?:", what):
            return Reference(rest, None, sha256)
        raise ModelError(f"{size!r} in {text!r} is not a size; expected one like {what}@608 or {what}@640x384")
    width, height = int(match[1]), int(match[2] or match[1])
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise ModelError(f"the size {size} in {text!r} is out of range, allowed are 1 to {LARGEST_SIDE} pixels a side")
    return Reference(what, (height, width), sha256)


def check_sha256(text: str) -> None:
    """Raises `ModelError` if `text` is not a SHA-256 in hexadecimal."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise ModelError(
            f"{text[:80]!r} is not a sha256, expected 64 hexadecimal digits, as 'sha256sum FILE' prints them"
        )
