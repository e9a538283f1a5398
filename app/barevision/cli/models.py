"""``barevision models``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from barevision.cli.options import json_option, models_dir_option, progress
from barevision.settings import Settings, load_settings

if TYPE_CHECKING:
    from barevision.client import Client
    from barevision.models.source import ModelSource

_sha256_option = click.option(
    "--sha256", help="What the .weights or .onnx file must have. Remembered, once a file was seen to have it."
)


@click.group()
def models() -> None:
    """The models that can be served.

    A MODEL is a name of the catalogue, a folder with .cfg, .weights and .names, an .onnx file, or the https address of
    one; yolov3@608 and yolov3@640x384 give the network's input another size.
    """


@models.command("list")
@models_dir_option
@json_option
def list_models(models_dir: Path | None, as_json: bool) -> None:
    """Lists the models that have a name: what they are, what is here of them, and what they take.

    disk and memory are estimates for the serving machine. The time is that of one inference, where 'prepare' measured
    it on this machine.
    """
    from barevision.models.catalogue import catalogue_names
    from barevision.models.pins import pulled_names

    settings = load_settings(models_dir=models_dir)
    names = catalogue_names() + pulled_names(settings.models_dir)
    rows = [_row(name, settings) for name in names]
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max(len(row["model"]) for row in rows)
    click.echo(f"{'MODEL':{width}}  {'INPUT':9} {'HERE':12} {'DISK':>8} {'MEMORY':>8} {'TIME':>9}")
    for row in rows:
        here = "prepared" if row["prepared"] else "downloaded" if row["downloaded"] else "-"
        disk, memory = _megabytes(row["disk_bytes"]), _megabytes(row["memory_bytes"])
        taken = f"{disk:>8} {memory:>8} {_milliseconds(row['seconds']):>9}"
        click.echo(f"{row['model']:{width}}  {_size(row['input']):9} {here:12} {taken}")
        click.echo(f"{'':{width}}  {row['description']}")
        click.echo(
            f"{'':{width}}  Licence: {row['licence']}{'' if row['verified'] else '. Needs --sha256: see --help'}"
        )


@models.command("requirements")
@click.argument("model")
@models_dir_option
@json_option
def model_requirements(model: str, models_dir: Path | None, as_json: bool) -> None:
    """What MODEL takes, without fetching it."""
    from barevision.models.catalogue import find_source

    settings = load_settings(models_dir=models_dir)
    row = _requirements(model, find_source(model, settings.models_dir), settings)
    if as_json:
        click.echo(json.dumps(row))
    else:
        click.echo(f"{model}: {_megabytes(row['disk_bytes'])} disk, {_megabytes(row['memory_bytes'])} memory")


@models.command()
@click.argument("model")
@_sha256_option
@click.option("--name", help="What to call a model from an address. [default: like its file]")
@models_dir_option
@json_option
def pull(model: str, sha256: str | None, name: str | None, models_dir: Path | None, as_json: bool) -> None:
    """Fetches the files of MODEL and verifies them.

    A download that was cut short goes on where it ended. MODEL may be the https address of an .onnx file; it and the
    models of the catalogue that nobody here verified need --sha256:

    \b
      barevision models pull yolov4-csp --sha256 0123...
      barevision models pull https://example.com/best.onnx --sha256 0123... --name signs
      barevision serve --model signs
    """
    from barevision.models.store import pull as pull_model

    directory = load_settings(models_dir=models_dir).models_dir
    source = _source(model, sha256, name, directory)
    folder = pull_model(source, directory, progress())
    if as_json:
        click.echo(json.dumps({"model": source.name, "folder": str(folder)}))
    else:
        click.echo(f"{source.name} is in {folder}")


@models.command()
@click.argument("model")
@models_dir_option
@json_option
def prepare(model: str, models_dir: Path | None, as_json: bool) -> None:
    """Fetches MODEL, converts it and checks its golden image; converts nothing if that was done."""
    from barevision.detector import load_detector
    from barevision.models.catalogue import find_source
    from barevision.models.prepare import write_seconds

    settings = load_settings(model=model, models_dir=models_dir)
    detector = load_detector(settings, progress())
    finding = detector.check()
    prepared, seconds = detector.model, detector.seconds_of_inference()
    source = find_source(model, settings.models_dir)
    write_seconds(source, settings.models_dir, _how(settings), seconds)
    if as_json:
        row = {
            **_requirements(model, source, settings),
            "path": str(prepared.path),
            "changed": prepared.changed,
            "seconds": seconds,
        }
        click.echo(json.dumps(row))
    else:
        what = "prepared" if prepared.changed else "was prepared before"
        click.echo(f"{prepared.name} {what}: {prepared.path}; {finding}; {_milliseconds(seconds)} an inference")


@models.command()
@click.argument("model", required=False)
@models_dir_option
@click.option("--url", help="Ask the service at this address instead of predicting in this process.")
@json_option
def check(model: str | None, models_dir: Path | None, url: str | None, as_json: bool) -> None:
    """Checks that MODEL answers its golden image rightly, here or on a service; prints what was expected and found.

    Without MODEL it is the one that is set: $BAREVISION_MODEL or roadsigns.
    """
    settings = load_settings(model=model, models_dir=models_dir)
    if url:
        _check_service(url, settings, as_json)
        return
    from barevision.detector import load_detector

    detector = load_detector(settings, progress())
    golden = detector.model.golden
    if golden is None:
        _say(detector.check(), as_json)
    else:
        _compare(golden.expected, detector.golden_answer(), as_json)


@models.command()
@click.argument("model")
@models_dir_option
@json_option
def rm(model: str, models_dir: Path | None, as_json: bool) -> None:
    """Removes what was downloaded and prepared of MODEL from the models directory, and says what.

    Your own folders and files stay, and so does the embedded model.
    """
    from barevision.models.catalogue import find_source
    from barevision.models.store import remove

    directory = load_settings(models_dir=models_dir).models_dir
    removed = remove(find_source(model, directory), directory)
    if as_json:
        click.echo(json.dumps({"model": model, "removed": [str(path) for path in removed]}))
        return
    for path in removed:
        click.echo(f"removed {path}")
    if not removed:
        click.echo(f"there is nothing of {model} in {directory}")


def _check_service(url: str, settings: Settings, as_json: bool) -> None:
    from barevision.client import Client
    from barevision.detector import drawn_picture
    from barevision.models.catalogue import find_source
    from barevision.pictures.decode import encode_image

    source, client = find_source(settings.model, settings.models_dir), Client(url)
    _check_served(source, client)
    if source.golden is None:
        client.predict_json(encode_image(drawn_picture(), ".jpg"))
        _say(f"{settings.model} has no golden image; {url} answered a drawn picture", as_json)
    else:
        found = client.predict_json(source.golden.image, confidence=0.5, nms=0.3)
        _compare(source.golden.expected, found, as_json)


def _check_served(source: ModelSource, client: Client) -> None:
    """Raises `WrongAnswerError` if the service has another model, or this one in another size."""
    from barevision.errors import WrongAnswerError

    served = client.info().get("model", {})
    wanted = {"name": source.name}
    if source.input_size:
        wanted["input_size"] = list(reversed(source.input_size))
    found = {part: served.get(part) for part in wanted}
    if found != wanted:
        raise WrongAnswerError(f"{client.url} serves {found}, expected {wanted}")


def _source(model: str, sha256: str | None, name: str | None, directory: Path) -> ModelSource:
    from barevision.errors import ModelError
    from barevision.models.catalogue import find_source, url_source
    from barevision.models.reference import check_sha256, parse_reference

    if sha256:
        check_sha256(sha256)
        model = f"{model}#sha256={sha256}"
    asked = parse_reference(model)
    if name is None:
        return find_source(model, directory)
    if not asked.is_url:
        raise ModelError("--name is for models from an address; others have a name")
    if not asked.sha256:
        raise ModelError(f"{asked.what} needs --sha256: nobody else says what it must contain")
    return url_source(asked.what, name, asked.sha256)


def _compare(expected: list[dict], found: list[dict], as_json: bool) -> None:
    """Prints both answers, and raises `WrongAnswerError` if they differ."""
    from barevision.detector import check_answer
    from barevision.errors import WrongAnswerError

    answers = {"expected": expected, "found": found}
    if not as_json:
        for name, answer in answers.items():
            for item in answer:
                click.echo(f"{name:8}  {item['confidence']:.3f}  {item['label']}  {item['boxes']}")
    try:
        finding = check_answer(expected, found)
    except WrongAnswerError:
        if as_json:
            click.echo(json.dumps({"right": False, **answers}))
        raise
    click.echo(json.dumps({"right": True, "finding": finding, **answers}) if as_json else finding)


def _say(finding: str, as_json: bool) -> None:
    click.echo(json.dumps({"finding": finding}) if as_json else finding)


def _how(settings: Settings) -> str:
    """What an inference's time depends on, beside model and machine."""
    return f"{settings.engine}, {settings.threads} threads"


def _row(model: str, settings: Settings) -> dict:
    from barevision.models.catalogue import find_source
    from barevision.models.prepare import is_prepared, read_seconds
    from barevision.models.store import is_downloaded

    source = find_source(model, settings.models_dir)
    return {
        **_requirements(model, source, settings),
        "licence": source.licence,
        "input": list(source.input_size or ()) or None,
        "downloaded": is_downloaded(source, settings.models_dir),
        "prepared": is_prepared(source, settings.models_dir),
        "seconds": read_seconds(source, settings.models_dir, _how(settings)),
    }


def _requirements(model: str, source: ModelSource, settings: Settings) -> dict:
    disk, memory = source.requirements(settings.concurrency * settings.max_pixels)
    return {
        "model": model,
        "description": source.description,
        "disk_bytes": disk,
        "memory_bytes": memory,
        "verified": source.verified,
    }


def _megabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 2**20:.0f} MiB"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _size(size: list[int] | None) -> str:
    return f"{size[1]}x{size[0]}" if size else "its own"
