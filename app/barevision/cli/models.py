"""``barevision models``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from barevision.cli.options import json_option, models_dir_option, progress
from barevision.settings import load_settings


@click.group()
def models() -> None:
    """The models that can be served."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """Lists the models that have a name, with what they take."""
    from barevision.models import catalogue_names

    rows = [_requirements(name) for name in catalogue_names()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        needs = f"{_megabytes(row['disk_bytes'])} disk  {_megabytes(row['memory_bytes'])} memory"
        click.echo(f"{row['model']:12}  {needs}  {row['description']}")


@models.command("requirements")
@click.argument("model")
@json_option
def model_requirements(model: str, as_json: bool) -> None:
    """What MODEL takes, without fetching it."""
    row = _requirements(model)
    if as_json:
        click.echo(json.dumps(row))
    else:
        click.echo(f"{model}: {_megabytes(row['disk_bytes'])} disk, {_megabytes(row['memory_bytes'])} memory")


@models.command()
@click.argument("model")
@models_dir_option
def pull(model: str, models_dir: Path | None) -> None:
    """Fetches the files of MODEL and verifies them."""
    from barevision.models import find_source
    from barevision.models import pull as pull_model

    folder = pull_model(find_source(model), load_settings(models_dir=models_dir).models_dir, progress())
    click.echo(f"{model} is in {folder}")


@models.command()
@click.argument("model")
@models_dir_option
@json_option
def prepare(model: str, models_dir: Path | None, as_json: bool) -> None:
    """Fetches MODEL, converts it and checks its golden image; does nothing if that was done."""
    from barevision.detector import load_detector

    settings = load_settings(model=model, models_dir=models_dir)
    detector = load_detector(settings, progress())
    finding = detector.check()
    prepared = detector.model
    if as_json:
        row = {**_requirements(model), "path": str(prepared.path), "changed": prepared.changed}
        click.echo(json.dumps(row))
    else:
        what = "prepared" if prepared.changed else "was prepared before"
        click.echo(f"{prepared.name} {what}: {prepared.path}; {finding}")


@models.command()
@click.argument("model")
@models_dir_option
@click.option("--url", help="Ask the service at this address instead of predicting in this process.")
def check(model: str, models_dir: Path | None, url: str | None) -> None:
    """Checks that MODEL answers its golden image rightly, here or on a service."""
    from barevision.client import Client
    from barevision.detection import encode_image
    from barevision.detector import check_answer, drawn_picture, load_detector
    from barevision.models import find_source

    if not url:
        click.echo(load_detector(load_settings(model=model, models_dir=models_dir), progress()).check())
        return
    golden = find_source(model).golden
    client = Client(url)
    if golden is None:
        client.predict_json(encode_image(drawn_picture(), ".jpg"))
        click.echo(f"{model} has no golden image; {url} answered a drawn picture")
        return
    click.echo(check_answer(golden, client.predict_json(golden.image, confidence=0.5, nms=0.3)))


def _requirements(model: str) -> dict:
    from barevision.models import find_source, requirements

    source = find_source(model)
    settings = load_settings()
    disk, memory = requirements(source, settings.concurrency * settings.max_pixels)
    return {
        "model": model,
        "description": source.description,
        "disk_bytes": disk,
        "memory_bytes": memory,
    }


def _megabytes(count: int) -> str:
    return f"{count / 2**20:6.0f} MiB"
