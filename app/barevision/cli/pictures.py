"""The pictures that a command line names: files, folders, globs and standard input."""

from __future__ import annotations

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
    :ivar saved: where its annotated version goes, below the folder for those.
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
    if not _is_pattern(argument):
        return _at(Path(argument), without)
    return [picture for match in _matches(Path(argument)) for picture in _at(match, without)]


def _matches(pattern: Path) -> list[Path]:
    try:
        return sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except ValueError as error:
        raise click.UsageError(f"{pattern} is no glob: {error}") from None


def _is_pattern(argument: str) -> bool:
    return not _WILDCARDS.isdisjoint(argument) and not Path(argument).exists()


def _at(path: Path, without: Path | None) -> list[Picture]:
    if not path.is_dir():
        return [Picture(str(path), path, Path(f"{path.stem}.jpg"))]
    excluded = without.resolve() if without else None
    return [
        Picture(str(file), file, file.relative_to(path).with_suffix(".jpg"))
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in _extensions() and file.is_file() and not _is_inside(file, excluded, path)
    ]


def _is_inside(file: Path, excluded: Path | None, searched: Path) -> bool:
    """Whether `file` is in `excluded`, which is itself a folder below `searched`."""
    if excluded is None or searched.resolve() not in excluded.parents:
        return False
    return excluded in file.resolve().parents


def _extensions() -> set[str]:
    from PIL import Image

    from barevision.detection.decode import FORMATS

    return {extension for extension, format_ in Image.registered_extensions().items() if format_ in FORMATS}


def _known() -> str:
    return ", ".join(sorted(_extensions()))
