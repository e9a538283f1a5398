"""``barevision predict``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from barevision.cli.options import Share, json_option, model_option, progress
from barevision.settings import load_settings


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@model_option
@click.option("--url", help="Ask the service at this address instead of predicting in this process.")
@click.option("--confidence", type=Share(), help="Answer detections above it. [default: 0.5]")
@click.option("--nms", type=Share(), help="Largest overlap of two boxes. [default: 0.3]")
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write annotated pictures into this folder.",
)
@json_option
def predict(
    images: tuple[Path, ...],
    model: str | None,
    url: str | None,
    confidence: float | None,
    nms: float | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Predicts IMAGES and prints what is on them.

    --json prints exactly the list that POST /predict answers; for several images one object from file name to list.
    The exit status is 1 if any image failed; the others are answered all the same.
    """
    if model and url:
        raise click.UsageError("--model chooses the model of this process; the service at --url has its own")
    if folder:
        _check_targets(images, folder)
    ask = _remote(url, confidence, nms) if url else _local(model, confidence, nms)
    answers: dict[str, list[dict]] = {}
    failed = False
    for path in images:
        try:
            answers[str(path)] = _predict_file(path, ask, folder)
        except (OSError, ValueError, RuntimeError) as error:
            click.echo(f"{path}: {error}", err=True)
            failed = True
        else:
            if not as_json:
                _print_table(path, answers[str(path)])
    if as_json and answers:
        click.echo(json.dumps(answers if len(images) > 1 else answers[str(images[0])]))
    sys.exit(1 if failed else 0)


def _local(model: str | None, confidence: float | None, nms: float | None) -> Callable[[bytes], list[dict]]:
    from barevision.detector import load_detector

    detector = load_detector(load_settings(model=model), progress())
    selection = detector.selection(confidence, nms)
    return lambda data: detector.answer(data, selection).objects


def _remote(url: str, confidence: float | None, nms: float | None) -> Callable[[bytes], list[dict]]:
    from barevision.client import Client

    client = Client(url)
    given = {"confidence": confidence, "nms": nms}
    parameters = {name: value for name, value in given.items() if value is not None}
    return lambda data: client.predict_json(data, **parameters)


def _target(path: Path, folder: Path) -> Path:
    return folder / f"{path.stem}.jpg"


def _check_targets(images: tuple[Path, ...], folder: Path) -> None:
    """Raises `click.UsageError` if an annotated picture would replace a given one, or another annotated one."""
    originals = {path.resolve(): path for path in images}
    targets: dict[Path, Path] = {}
    for path in originals.values():
        target = _target(path, folder).resolve()
        if target in originals:
            raise click.UsageError(f"--save {folder} would replace {originals[target]} with {path}, annotated")
        if target in targets:
            raise click.UsageError(
                f"--save {folder} would write {targets[target]} and {path} to the same {target.name}"
            )
        targets[target] = path


def _predict_file(path: Path, ask: Callable[[bytes], list[dict]], folder: Path | None) -> list[dict]:
    data = path.read_bytes()
    answer = ask(data)
    if folder:
        _save(path, data, answer, folder)
    return answer


def _save(path: Path, data: bytes, answer: list[dict], folder: Path) -> None:
    from barevision.detection import annotate, decode_image, encode_image

    folder.mkdir(parents=True, exist_ok=True)
    picture = annotate(decode_image(data, load_settings().max_pixels), answer)
    target = _target(path, folder)
    beside = folder / f".{target.name}.part"
    beside.write_bytes(encode_image(picture, ".jpg"))
    beside.replace(target)


def _print_table(path: Path, answer: list[dict]) -> None:
    click.echo(f"{path}: {len(answer)} object{'' if len(answer) == 1 else 's'}")
    for item in answer:
        x, y, width, height = item["boxes"]
        click.echo(f"  {item['confidence']:.3f}  {item['label']:<16} {width}x{height} at {x},{y}")
