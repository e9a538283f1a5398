"""Reads the floats of a Darknet ``.weights`` file in order, and makes sure that none is missing or left over."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from barevision.darknet.config import Section
from barevision.errors import DarknetError

_NOT_WEIGHTS = {
    b"<!DOCTYPE": "an HTML page",
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<HTML": "an HTML page",
    b"version https://git-lfs": "a Git LFS pointer, not the file that it points to ('git lfs pull' fetches it)",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
}
# Every version that Darknet ever wrote is 0.1.0, 0.2.0 or 0.2.5. Converters from other frameworks write 0.0.0, which
# Darknet reads as it does 0.1.
_VERSIONS = frozenset({(0, 0), (0, 1), (0, 2)})


class Weights:
    """A cursor over the floats of a ``.weights`` file.

    The format (Darknet's ``load_weights_upto``): int32 major, minor, revision; the number of images seen as int64, or
    as int32 before version 0.2; then float32 to the end.
    """

    def __init__(self, path: Path) -> None:
        """Opens `path`; raises `DarknetError` if it is not a weights file."""
        self.source = path.name
        header_bytes = _header_bytes(path)
        size = path.stat().st_size
        if (size - header_bytes) % 4:
            raise DarknetError(
                f"{self.source}: {size} bytes are not a whole number of floats; "
                "the file is cut short or was changed in transfer"
            )
        self._floats = (
            np.memmap(path, np.dtype("<f4"), "r", offset=header_bytes) if size > header_bytes else np.empty(0, "<f4")
        )
        self._position = 0

    def take(self, count: int, section: Section, what: str) -> np.ndarray:
        """The next `count` floats, shape (count,).

        :param section: the section that they belong to, for error messages.
        :param what: what they are, such as "the biases", for error messages.
        :raises DarknetError: there are too few, or one isn't finite.
        """
        left = self._floats.size - self._position
        if count > left:
            raise section.error(
                f"{self.source} ends here: {count} floats are needed for {what}, {left} are left; "
                "the file is cut short or belongs to another .cfg"
            )
        values = np.asarray(self._floats[self._position : self._position + count], np.float32)
        if not np.isfinite(values).all():
            raise section.error(
                f"{self.source} is damaged: not all of {what} (floats {self._position} to {self._position + count}) "
                "are finite"
            )
        self._position += count
        return values

    def finish(self) -> None:
        """Raises `DarknetError` if floats are left over."""
        left = self._floats.size - self._position
        if left:
            raise DarknetError(
                f"{self.source}: {left} floats are left over after the {self._position} that the network needs; "
                "the file belongs to another .cfg"
            )


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(64)
    for magic, what in _NOT_WEIGHTS.items():
        if head.lstrip().startswith(magic):
            raise DarknetError(f"{path.name} is {what}, expected Darknet weights")
    if len(head) < 16:
        raise DarknetError(f"{path.name} has {len(head)} bytes, too few for the header of Darknet weights")
    if not any(head):
        raise DarknetError(f"{path.name} begins with nothing but zeros; was its download cut short?")
    major, minor, _revision = struct.unpack_from("<3i", head)
    if (major, minor) not in _VERSIONS:
        raise DarknetError(
            f"{path.name} starts with version {major}.{minor}, expected 0.0, 0.1 or 0.2; this is not a .weights file"
        )
    return 20 if minor == 2 else 16
