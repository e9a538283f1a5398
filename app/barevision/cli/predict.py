"""``barevision predict``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from barevision.cli.inputs import Picture, find_pictures, is_one_picture
from barevision.cli.options import Share, json_option, model_option, progress
from barevision.errors import BarevisionError
from barevision.settings import Settings, load_settings

#: An encoded picture to what /predict answers for it.
Ask = Callable[[bytes], list[dict]]
#: A picture, the same encoded, and what is on it, to a file.
Save = Callable[[Picture, bytes, list[dict]], None]

#: What a shell says of a command that Ctrl-C ended.
_INTERRUPTED = 130


@click.command()
@click.argument("images", nargs=-1, required=True)
@model_option
@click.option("--url", help="Ask the service at this address instead of predicting in this process.")
@click.option("--confidence", type=Share(), help="Answer detections above it. [default: 0.5]")
@click.option("--nms", type=Share(), help="Largest overlap of two boxes. [default: 0.3]")
@click.option("--classes", metavar="LABEL,...", help="Answer only these classes. [default: all]")
@click.option("--limit", type=click.IntRange(1), help="Answer at most so many detections of a picture.")
@click.option("--per-class-nms", is_flag=True, help="Boxes of different classes may overlap.")
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write annotated pictures into this folder, those of a folder with their paths in it.",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: file,label,confidence,x,y,width,height.")
def predict(
    images: tuple[str, ...],
    model: str | None,
    url: str | None,
    folder: Path | None,
    as_json: bool,
    as_csv: bool,
    **parameters: object,
) -> None:
    """Predicts IMAGES and prints what is on them.

    IMAGES are files, folders (all pictures in them, at any depth), quoted globs ('photos/**/*.png') and - for standard
    input.

    --json prints exactly the list that POST /predict answers; for several images, a folder or a glob one object from
    file name to list. The exit status is 1 if any image failed; the others are answered all the same. Ctrl-C prints
    what was done, and exits with 130.
    """
    if model and url:
        raise click.UsageError("--model chooses the model of this process; the service at --url has its own")
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    pictures = find_pictures(images, folder)
    if folder:
        _check_targets(pictures, folder)
    settings = load_settings(model=model)
    given = {name: value for name, value in parameters.items() if value is not None and value is not False}
    if "classes" in given:
        given["classes"] = _labels(given["classes"])
    run = _Run(len(pictures))
    try:
        ask = _remote(url, given) if url else _local(settings, given)
        save = partial(_save, folder, settings.max_pixels) if folder else None
        write = _write_csv() if as_csv else _no_output if as_json else _print_table
        run.predict(pictures, ask, save, write)
    except KeyboardInterrupt:
        run.interrupt()
    if as_json and not is_one_picture(images):
        click.echo(json.dumps(run.answers))
    elif as_json and run.answers:
        click.echo(json.dumps(run.answers[pictures[0].name]))
    sys.exit(run.status)


class _Run:
    """What became of the pictures so far."""

    def __init__(self, count: int) -> None:
        self.answers: dict[str, list[dict]] = {}
        self.status = 0
        self._count = count
        self._failed = 0
        self._in_place = sys.stderr.isatty()

    def predict(
        self, pictures: list[Picture], ask: Ask, save: Save | None, write: Callable[[str, list[dict]], None]
    ) -> None:
        for picture in pictures:
            self._show(picture.name)
            try:
                answer = _predict(picture, ask, save)
            except (OSError, BarevisionError) as error:
                self._fail(f"{click.format_filename(picture.name)}: {error}")
            else:
                self.answers[picture.name] = answer
                self._clear()
                write(picture.name, answer)
            self._log()
        self._clear()
        if self._failed and self._count > 1:
            click.echo(f"{self._failed} of {self._count} pictures failed", err=True)

    def interrupt(self) -> None:
        self._clear()
        click.echo(f"interrupted; {len(self.answers)} of {self._count} pictures were predicted", err=True)
        self.status = _INTERRUPTED

    @property
    def _done(self) -> int:
        return len(self.answers) + self._failed

    def _fail(self, words: str) -> None:
        self._failed += 1
        self.status = 1
        self._clear()
        click.echo(words, err=True)

    def _show(self, name: str) -> None:
        if self._in_place and self._count > 1:
            click.echo(f"{self._done + 1} of {self._count}: {click.format_filename(name)}", err=True, nl=False)

    def _clear(self) -> None:
        if self._in_place and self._count > 1:
            click.echo("\r\x1b[K", err=True, nl=False)

    def _log(self) -> None:
        """A line for every tenth of the pictures, where the progress can't be shown in place."""
        tenths = self._done * 10 // self._count
        if not self._in_place and self._count > 1 and tenths > (self._done - 1) * 10 // self._count:
            click.echo(f"{self._done} of {self._count} pictures", err=True)


def _labels(text: str) -> list[str]:
    labels = [label.strip() for label in text.split(",")]
    if not all(labels):
        raise click.BadParameter(f"{text!r} has an empty label; separate labels with commas", param_hint="--classes")
    return labels


def _local(settings: Settings, parameters: dict) -> Ask:
    from barevision.detector import load_detector
    from barevision.errors import UnknownLabelError

    detector = load_detector(settings, progress())
    try:
        selection = detector.selection(**parameters)
    except UnknownLabelError as error:
        raise click.BadParameter(str(error), param_hint="--classes") from None
    return lambda data: detector.answer(data, selection, whole=False).objects


def _remote(url: str, parameters: dict) -> Ask:
    from barevision.client import Client

    client = Client(url)
    return lambda data: client.predict_json(data, **parameters)


def _check_targets(pictures: list[Picture], folder: Path) -> None:
    """Raises `click.UsageError` if an annotated picture would replace a given one, or another annotated one."""
    originals = {picture.path.resolve(): picture.name for picture in pictures if picture.path}
    targets: dict[Path, Picture] = {}
    for picture in pictures:
        target = (folder / picture.saved).resolve()
        if target in originals:
            raise click.UsageError(f"--save {folder} would replace {originals[target]} with {picture.name}, annotated")
        other = targets.setdefault(target, picture)
        if not _is_same(other, picture):
            raise click.UsageError(
                f"--save {folder} would write {other.name} and {picture.name} to the same {picture.saved}"
            )


def _is_same(one: Picture, other: Picture) -> bool:
    return one is other or bool(one.path and other.path and one.path.resolve() == other.path.resolve())


def _predict(picture: Picture, ask: Ask, save: Save | None) -> list[dict]:
    data = picture.read()
    answer = ask(data)
    if save:
        save(picture, data, answer)
    return answer


def _save(folder: Path, max_pixels: int, picture: Picture, data: bytes, answer: list[dict]) -> None:
    from barevision.pictures.annotate import annotate
    from barevision.pictures.decode import decode_image, encode_image

    target = folder / picture.saved
    encoded = encode_image(annotate(decode_image(data, max_pixels), answer), ".jpg")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target) as part:
        part.write_bytes(encoded)
        part.replace(target)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A file to write first, which is gone afterwards, whatever happens."""
    part = target.with_name(f".{target.name}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _print_table(name: str, answer: list[dict]) -> None:
    click.echo(f"{click.format_filename(name)}: {len(answer)} object{'' if len(answer) == 1 else 's'}")
    for item in answer:
        x, y, width, height = item["boxes"]
        click.echo(f"  {item['confidence']:.3f}  {item['label']:<16} {width}x{height} at {x},{y}")


def _write_csv() -> Callable[[str, list[dict]], None]:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file", "label", "confidence", "x", "y", "width", "height"])

    def write(name: str, answer: list[dict]) -> None:
        rows.writerows(
            [click.format_filename(name), item["label"], item["confidence"], *item["boxes"]] for item in answer
        )
        sys.stdout.flush()

    return write


def _no_output(name: str, answer: list[dict]) -> None:
    """--json prints once, at the end."""
