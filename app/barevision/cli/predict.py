"""``barevision predict``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from barevision.cli.inputs import Picture, find_pictures, is_one_picture
from barevision.cli.options import Share, json_option, key_option, model_option, progress, url_option
from barevision.client import Client
from barevision.detector import load_detector
from barevision.errors import BarevisionError, UnknownLabelError
from barevision.objects import Detection
from barevision.pictures.annotate import annotate
from barevision.pictures.decode import decode_image, encode_image
from barevision.settings import Settings, load_settings

#: What a shell says of a command that Ctrl-C ended.
_INTERRUPTED = 130


@click.command()
@click.argument("images", nargs=-1, required=True)
@model_option
@url_option
@key_option
@click.option(
    "--confidence",
    type=Share(),
    help="Answer detections above it. [default: the service's, or $BAREVISION_CONFIDENCE]",
)
@click.option(
    "--nms",
    type=Share(),
    help="Largest overlap of two boxes. [default: the service's, or $BAREVISION_NMS]",
)
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
    key: str | None,
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
    parameters = {name: value for name, value in parameters.items() if value is not None and value is not False}
    if "classes" in parameters:
        parameters["classes"] = _labels(parameters["classes"])
    status, answers, counter = 0, {}, _Counter(len(pictures))
    try:
        ask = _ask_service(url, key, parameters) if url else _ask_here(settings, parameters)
        rows = csv.writer(sys.stdout, lineterminator="\n")
        if as_csv:
            rows.writerow(["file", "label", "confidence", "x", "y", "width", "height"])
        for picture in pictures:
            counter.show(picture.name)
            name = click.format_filename(picture.name)
            try:
                data = picture.read()
                detections = ask(data)
                if folder:
                    _save(folder / picture.saved, data, detections, settings.max_pixels)
            except (OSError, BarevisionError) as error:
                counter.clear()
                click.echo(f"{name}: {error}", err=True)
                counter.count(failed=True)
                status = 1
                continue
            counter.clear()
            answers[picture.name] = [detection.to_json() for detection in detections]
            if as_csv:
                rows.writerows([name, one.label, one.confidence, *one.box] for one in detections)
                sys.stdout.flush()
            elif not as_json:
                _print(name, detections)
            counter.count()
        counter.summarize()
    except KeyboardInterrupt:
        counter.clear()
        click.echo(f"interrupted; {len(answers)} of {len(pictures)} pictures were predicted", err=True)
        status = _INTERRUPTED
    if as_json and not is_one_picture(images):
        click.echo(json.dumps(answers))
    elif as_json and answers:
        click.echo(json.dumps(answers[pictures[0].name]))
    sys.exit(status)


class _Counter:
    """How many of several pictures are done, on stderr: in place on a terminal, a line for every tenth in a log."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done = self._failed = 0
        self._in_place = count > 1 and sys.stderr.isatty()
        self._in_lines = count > 1 and not sys.stderr.isatty()

    def show(self, name: str) -> None:
        if self._in_place:
            click.echo(f"{self._done + 1} of {self._count}: {click.format_filename(name)}", err=True, nl=False)

    def clear(self) -> None:
        if self._in_place:
            click.echo("\r\x1b[K", err=True, nl=False)

    def count(self, failed: bool = False) -> None:
        self._done += 1
        self._failed += failed
        if self._in_lines and self._done * 10 // self._count > (self._done - 1) * 10 // self._count:
            click.echo(f"{self._done} of {self._count} pictures", err=True)

    def summarize(self) -> None:
        if self._failed and self._count > 1:
            click.echo(f"{self._failed} of {self._count} pictures failed", err=True)


def _labels(text: str) -> list[str]:
    labels = [label.strip() for label in text.split(",")]
    if not all(labels):
        raise click.BadParameter(f"{text!r} has an empty label; separate labels with commas", param_hint="--classes")
    return labels


def _ask_here(settings: Settings, parameters: dict) -> Callable[[bytes], list[Detection]]:
    """A function that predicts a picture in this process."""
    detector = load_detector(settings, progress())
    try:
        selection = detector.selection(**parameters)
    except UnknownLabelError as error:
        raise click.BadParameter(str(error), param_hint="--classes") from None
    return lambda data: detector.answer(data, selection).detections


def _ask_service(url: str, key: str | None, parameters: dict) -> Callable[[bytes], list[Detection]]:
    """A function that asks the service at `url`."""
    client = Client(url, key=key)
    return lambda data: client.predict(data, **parameters)


def _print(name: str, detections: list[Detection]) -> None:
    click.echo(f"{name}: {len(detections)} object{'' if len(detections) == 1 else 's'}")
    for detection in detections:
        x, y, width, height = detection.box
        click.echo(f"  {detection.confidence:.3f}  {detection.label:<16} {width}x{height} at {x},{y}")


def _check_targets(pictures: list[Picture], folder: Path) -> None:
    """Raises `click.UsageError` if an annotated picture would replace a given one, or another annotated one."""
    originals = {picture.path.resolve(): picture.name for picture in pictures if picture.path}
    targets: dict[Path, Picture] = {}
    for picture in pictures:
        target = (folder / picture.saved).resolve()
        if target in originals:
            raise click.UsageError(f"--save {folder} would replace {originals[target]} with {picture.name}, annotated")
        other = targets.setdefault(target, picture)
        is_same = other is picture or bool(
            other.path and picture.path and other.path.resolve() == picture.path.resolve()
        )
        if not is_same:
            raise click.UsageError(
                f"--save {folder} would write {other.name} and {picture.name} to the same {picture.saved}"
            )


def _save(target: Path, data: bytes, detections: list[Detection], max_pixels: int) -> None:
    drawn = encode_image(annotate(decode_image(data, max_pixels), detections), ".jpg")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_bytes(drawn)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
