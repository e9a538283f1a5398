"""The file of keys that `playbooks/keys.yml` writes: hashes, and the key with which the machine asks itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

_OWN_NAME = "the machine itself"


@dataclass(frozen=True)
class KeyFile:
    """What is in such a file.

    :ivar own: the machine's own key, for whoever may read the file.
    :ivar names: the name of each key, by its SHA-256 in hexadecimal.
    """

    own: str
    names: dict[bytes, str]


def digest(key: str) -> bytes:
    """The SHA-256 of `key`, in hexadecimal."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest().encode()


def read_key_file(path: Path) -> KeyFile:
    """What is in the file at `path`.

    :raises OSError: it can't be read.
    :raises ValueError: it is no file of keys.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        own = str(content["own"])
        names = {str(key["sha256"]).encode(): str(key["name"]) for key in content["keys"]}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} is no file of keys: {error!r}") from None
    return KeyFile(own, {**names, digest(own): _OWN_NAME})
