"""The pictures that a command line names: files, folders, globs and standard input."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

STDIN = "-"
_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True)
class Picture:
    """An encoded picture to predict.

    :ivar name: how it is called in answers and messages.
    :ivar path: where it is, None for standard input.
    :ivar saved: where its annotated version goes below that folder: as far down as it was below the one searched.
    """

    name: str
    path: Path | None
    saved: Path

    def read(self) -> bytes:
        """The encoded picture.

        :raises OSError: it can't be read.
        """
        return self.path.read_bytes() if self.path else sys.stdin.buffer.read()


def is_one_picture(arguments: tuple[str, ...]) -> bool:
    """Whether `arguments` can only ever name a single picture, whatever is in the folders."""
    return len(arguments) == 1 and not Path(arguments[0]).is_dir() and not _is_pattern(arguments[0])


def find_pictures(arguments: Iterable[str], without: Path | None) -> list[Picture]:
    """The pictures that `arguments` name, each once, those of a folder or a glob in the order of their paths.

    :param without: a folder that is not searched when it is inside one of `arguments`.
    :raises click.UsageError: a folder without pictures, or a glob that matches nothing, an empty argument.
    """
    found: dict[str, Picture] = {}
    for argument in arguments:
        if not argument:
            raise click.UsageError("one of IMAGES is empty; the current folder is .")
        pictures = _expand(argument, without)
        if not pictures:
            what = "matches nothing" if _is_pattern(argument) else "has no pictures"
            raise click.UsageError(f"{argument} {what}; pictures in folders are known by {_known()}")
        for picture in pictures:
            found.setdefault(picture.name, picture)
    return list(found.values())


def _expand(argument: str, without: Path | None) -> list[Picture]:
    if argument == STDIN:
        return [Picture(STDIN, None, Path("stdin.jpg"))]
    path = Path(argument)
    if _is_pattern(argument):
        base, files = _fixed_part(path), [file for match in _matches(path) for file in _files(match)]
    elif path.is_dir():
        base, files = path, _files(path)
    else:
        base, files = path.parent, [path]
        without = None
    return [
        Picture(str(file), file, file.relative_to(base).with_suffix(".jpg"))
        for file in files
        if not _is_inside(file, without, base)
    ]


def _fixed_part(pattern: Path) -> Path:
    """The folder that `pattern` searches."""
    return Path(*itertools.takewhile(_WILDCARDS.isdisjoint, pattern.parts))


def _matches(pattern: Path) -> list[Path]:
    try:
        return sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except ValueError as error:
        raise click.UsageError(f"{pattern} is no glob: {error}") from None


def _is_pattern(argument: str) -> bool:
    return not _WILDCARDS.isdisjoint(argument) and not Path(argument).exists()


def _files(path: Path) -> list[Path]:
    """`path` itself, or the pictures in it if it is a folder."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in _extensions() and file.is_file())


def _is_inside(file: Path, folder: Path | None, searched: Path) -> bool:
    """Whether `file` is in `folder`, and that somewhere below the folder `searched`."""
    if folder is None or searched.resolve() not in folder.resolve().parents:
        return False
    return folder.resolve() in file.resolve().parents


def _extensions() -> set[str]:
    from PIL import Image

    from barevision.pictures.header import FORMATS

    return {extension for extension, format_ in Image.registered_extensions().items() if format_ in FORMATS}


def _known() -> str:
    return ", ".join(sorted(_extensions()))
