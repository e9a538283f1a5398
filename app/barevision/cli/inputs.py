"""The pictures that a command line names: files, folders, globs and standard input."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from PIL import Image

from barevision.pictures.header import FORMATS

STDIN = "-"
_WILDCARDS = frozenset("*?[")
_EXTENSIONS = {extension for extension, format_ in Image.registered_extensions().items() if format_ in FORMATS}


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


def _is_pattern(argument: str) -> bool:
    return not _WILDCARDS.isdisjoint(argument) and not Path(argument).exists()


def find_pictures(arguments: Iterable[str], without: Path | None) -> list[Picture]:
    """The pictures that `arguments` name, each once, those of a folder or a glob in the order of their paths.

    :param without: a folder that is not searched when it is inside one of `arguments`.
    :raises click.UsageError: a folder without pictures, or a glob that matches nothing, an empty argument.
    """
    pictures: dict[str, Picture] = {}
    for argument in arguments:
        if not argument:
            raise click.UsageError("one of IMAGES is empty; the current folder is .")
        path = Path(argument)
        if argument == STDIN:
            matches = [Picture(STDIN, None, Path("stdin.jpg"))]
        elif _is_pattern(argument):
            base = Path(*itertools.takewhile(_WILDCARDS.isdisjoint, path.parts))
            files = itertools.chain.from_iterable(_pictures_at(match) for match in _matches(path))
            matches = _below(base, files, without)
        elif path.is_dir():
            matches = _below(path, _pictures_at(path), without)
        else:
            matches = _below(path.parent, [path], None)
        if not matches:
            what = "matches nothing" if _is_pattern(argument) else "has no pictures"
            known = ", ".join(sorted(_EXTENSIONS))
            raise click.UsageError(f"{argument} {what}; pictures in folders are known by {known}")
        for picture in matches:
            pictures.setdefault(picture.name, picture)
    return list(pictures.values())


def _matches(pattern: Path) -> list[Path]:
    try:
        return sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except ValueError as error:
        raise click.UsageError(f"{pattern} is not a glob: {error}") from None


def _pictures_at(path: Path) -> list[Path]:
    """`path` itself, or the pictures in it if it is a folder."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in _EXTENSIONS and file.is_file())


def _below(base: Path, files: Iterable[Path], without: Path | None) -> list[Picture]:
    """`files`, which lie below the folder `base`, but for those in the folder `without` if that lies there too."""
    is_searched = without is not None and base.resolve() in without.resolve().parents
    return [
        Picture(str(file), file, file.relative_to(base).with_suffix(".jpg"))
        for file in files
        if not (is_searched and without.resolve() in file.resolve().parents)
    ]
