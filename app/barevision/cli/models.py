"""``barevision models``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from barevision.choosing.choice import Trial
from barevision.choosing.measure import PATIENT, THOROUGH, measure
from barevision.choosing.speeds import known_measurement
from barevision.cli.inputs import find_pictures
from barevision.cli.options import Share, json_option, key_option, models_dir_option, progress, url_option
from barevision.cli.quantize import quantize
from barevision.client import Client
from barevision.detection.selection import Selection
from barevision.detector import Detector, drawn_image, load_detector
from barevision.engines import Precision, load_engine
from barevision.errors import ModelError, PictureError, ServiceError, WrongAnswerError
from barevision.key_file import read_key_file
from barevision.models.catalogue import catalogue_names, find_source, url_source
from barevision.models.golden import Golden, asked_confidence
from barevision.models.pins import is_damaged, pulled_names
from barevision.models.prepare import is_prepared, prepared_path
from barevision.models.prepare import prepare as prepare_source
from barevision.models.reference import check_sha256, parse_reference
from barevision.models.source import ModelSource
from barevision.models.store import is_downloaded
from barevision.models.store import pull as pull_source
from barevision.models.store import remove as remove_source
from barevision.objects import Detection
from barevision.pictures.decode import encode_image
from barevision.settings import Settings, load_settings

# Each of them takes every engine and precision an inference.
_MOST_PICTURES = 64


@click.group()
def models() -> None:
    """The models that can be served.

    A MODEL is a name of the catalogue, a folder with .cfg, .weights and .names, an .onnx file (with a .names file
    beside it if it has no names of classes), or the https address of one; yolov3@608 and yolov3@640x384 give the
    network's input another size.
    """


models.add_command(quantize)


@models.command("list")
@models_dir_option
@json_option
def list_models(models_dir: Path | None, as_json: bool) -> None:
    """Lists the models that have a name: what they are, what is here of them, and what they take.

    disk and memory are estimates for the serving machine. The time is that of a lone inference, where it was measured
    on this machine.
    """
    settings = load_settings(models_dir=models_dir)
    rows = []
    for name in dict.fromkeys(catalogue_names() + pulled_names(settings.models_dir)):
        if is_damaged(settings.models_dir, name):
            click.echo(f"{name} is damaged: 'barevision models rm {name}', and pull it again", err=True)
            continue
        source = find_source(name, settings.models_dir)
        known = known_measurement(prepared_path(source, settings.models_dir), settings)
        row = {
            **_requirements(name, source, settings),
            "licence": source.licence,
            "input": list(source.input_size or ()) or None,
            "downloaded": is_downloaded(source, settings.models_dir),
            "prepared": is_prepared(source, settings.models_dir),
            "seconds": known and known.choice.alone,
        }
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max(len(row["model"]) for row in rows)
    click.echo(f"{'MODEL':{width}}  {'INPUT':9} {'HERE':12} {'DISK':>8} {'MEMORY':>8} {'TIME':>9}")
    for row in rows:
        size = f"{row['input'][1]}x{row['input'][0]}" if row["input"] else "its own"
        here = "prepared" if row["prepared"] else "downloaded" if row["downloaded"] else "-"
        disk, memory, seconds = _mebibytes(row["disk_bytes"]), _mebibytes(row["memory_bytes"]), row["seconds"]
        milliseconds = "-" if seconds is None else f"{seconds * 1000:.1f} ms"
        click.echo(f"{row['model']:{width}}  {size:9} {here:12} {disk:>8} {memory:>8} {milliseconds:>9}")
        click.echo(f"{'':{width}}  {row['description']}")
        hint = "" if row["verified"] else ". Needs --sha256: see --help"
        click.echo(f"{'':{width}}  Licence: {row['licence']}{hint}")


@models.command("requirements")
@click.argument("model")
@models_dir_option
@json_option
def model_requirements(model: str, models_dir: Path | None, as_json: bool) -> None:
    """What MODEL takes, without fetching it."""
    settings = load_settings(models_dir=models_dir)
    row = _requirements(model, find_source(model, settings.models_dir), settings)
    disk, memory = _mebibytes(row["disk_bytes"]), _mebibytes(row["memory_bytes"])
    click.echo(json.dumps(row) if as_json else f"{model}: {disk} disk, {memory} memory")


@models.command()
@click.argument("model")
@click.option(
    "--sha256", help="What the .weights or .onnx file must have. Remembered, once a file was seen to have it."
)
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
    directory = load_settings(models_dir=models_dir).models_dir
    if sha256:
        check_sha256(sha256)
        model = f"{model}#sha256={sha256}"
    reference = parse_reference(model)
    if name is None:
        source = find_source(model, directory)
    elif not reference.is_url:
        raise ModelError("--name is for models from an address; others have a name")
    elif not reference.sha256:
        raise ModelError(f"{reference.what} needs --sha256: nobody else says what it must contain")
    else:
        source = url_source(reference.what, name, reference.sha256)
    folder = pull_source(source, directory, progress())
    row = {"model": source.name, "folder": str(folder)}
    click.echo(json.dumps(row) if as_json else f"{source.name} is in {folder}")


@models.command()
@click.argument("model")
@models_dir_option
@click.option(
    "--pictures",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare answers on the pictures in this folder. [default: a few that come with Barevision]",
)
@click.option(
    "--agreement",
    type=Share(),
    help="The share of boxes that another precision has to answer as f32 does. [default: $BAREVISION_AGREEMENT or 1]",
)
@click.option("--again", is_flag=True, help="Measure also what was measured on this machine before.")
@json_option
def prepare(
    model: str, models_dir: Path | None, folder: Path | None, agreement: float | None, again: bool, as_json: bool
) -> None:
    """Fetches MODEL, converts it, finds out how to run it on this machine, and checks its golden image.

    What was done before is not done again. Every engine and precision that the processor has is tried, as far as
    $BAREVISION_ENGINE and $BAREVISION_PRECISION allow, and the fastest is chosen whose answers are right: as those of
    ONNX Runtime at f32, but for boxes with a confidence within 0.05 of 0.5. Where no picture has a box, no score may
    differ by more than 0.05. This takes up to a minute; --pictures makes it sure for pictures like yours.
    """
    settings = load_settings(model=model, models_dir=models_dir, agreement=agreement)
    source = find_source(model, settings.models_dir)
    prepared = prepare_source(source, settings.models_dir, progress())
    measurement = known_measurement(prepared.path, settings)
    if again or folder or not (measurement and measurement.thorough):
        effort, pictures = (PATIENT, _read_pictures(folder)) if folder else (THOROUGH, None)
        measurement = measure(prepared, settings, effort, pictures, report=lambda trial: _show(trial, err=True))
    choice = measurement.choice
    finding = Detector(prepared, load_engine(choice.plan, prepared.path), settings).check()
    if as_json:
        row = _requirements(model, source, settings)
        row |= {"path": str(prepared.path), "changed": prepared.changed, "seconds": choice.alone}
        click.echo(json.dumps(row | {key: asdict(measurement)[key] for key in ("choice", "trials")}))
        return
    for trial in measurement.trials:
        _show(trial)
    what = "prepared" if prepared.changed else "was prepared before"
    click.echo(f"{prepared.name} {what}: {prepared.path}; {finding}")
    click.echo(f"It runs with {choice.reason}")


def _read_pictures(folder: Path) -> list[bytes]:
    """The pictures in `folder`, encoded: of more than 64 that many, evenly from first to last."""
    found = find_pictures((str(folder),), None)
    count = min(len(found), _MOST_PICTURES)
    try:
        return [found[number * len(found) // count].read() for number in range(count)]
    except OSError as error:
        raise PictureError(f"a picture can't be read: {error}") from error


def _show(trial: Trial, err: bool = False) -> None:
    """Prints a line of the table of trials."""
    plan = trial.plan
    cores = f"{plan.streams} x {plan.threads}"
    what = f"{plan.engine:11} {plan.precision:4} {cores:>8}"
    if trial.problem is None:
        numbers = f"{trial.rate:8.1f} a second {trial.alone * 1000:8.1f} ms alone {trial.memory / 2**20:6.0f} MiB"
        click.echo(f"{what} {numbers}  {trial.agreement or ''}", err=err)
    else:
        click.echo(f"{what} {trial.problem}", err=err)


@models.command()
@click.argument("model", required=False)
@models_dir_option
@url_option
@key_option
@json_option
def check(model: str | None, models_dir: Path | None, url: str | None, key: str | None, as_json: bool) -> None:
    """Checks that MODEL answers its golden image rightly, here or on a service; prints what was expected and found.

    Without MODEL it is the one that is set: $BAREVISION_MODEL or roadsigns.
    """
    settings = load_settings(model=model, models_dir=models_dir)
    if url:
        # A machine that asks itself may read the file of keys.
        own = read_key_file(settings.keys_file).own if settings.keys_file else None
        client = Client(url, key=key or own)
        source = find_source(settings.model, settings.models_dir)
        _require_served(source, client)
        golden = source.golden
        if golden is None:
            client.predict(encode_image(drawn_image(), ".jpg"))
            finding = f"{settings.model} has no golden image; {url} answered a drawn picture"
        else:
            precision = client.info()["engine"]["precision"]
            # The golden answer was given at the default thresholds, whatever the service is set to.
            answer = client.predict(golden.picture, confidence=asked_confidence(precision), nms=Selection.nms)
    else:
        detector = load_detector(settings, progress(), measures=True)
        golden = detector.model.golden
        if golden is None:
            finding = detector.check()
        else:
            answer, precision = detector.golden_answer(), detector.engine.plan.precision
    if golden is None:
        click.echo(json.dumps({"finding": finding}) if as_json else finding)
    else:
        _compare(golden, answer, precision, as_json)


def _require_served(source: ModelSource, client: Client) -> None:
    """Raises `WrongAnswerError` if the service has another model, or this one in another size."""
    model = client.info().get("model")
    if not isinstance(model, dict):
        raise ServiceError(f"{client.url}/info names no model; is this a Barevision service?")
    expected = {"name": source.name}
    if source.input_size:
        expected["input_size"] = list(reversed(source.input_size))
    served = {key: model.get(key) for key in expected}
    if served != expected:
        raise WrongAnswerError(f"{client.url} serves {served}, expected {expected}")


def _compare(golden: Golden, answer: list[Detection], precision: Precision, as_json: bool) -> None:
    """Prints both answers. Raises `WrongAnswerError` if they differ."""
    both = {"expected": golden.expected, "found": answer}
    if as_json:
        rows = {name: [detection.to_json() for detection in detections] for name, detections in both.items()}
        try:
            finding = golden.check(answer, precision)
        except WrongAnswerError:
            click.echo(json.dumps({"right": False, **rows}))
            raise
        click.echo(json.dumps({"right": True, "finding": finding, **rows}))
        return
    for name, detections in both.items():
        for detection in detections:
            click.echo(f"{name:8}  {detection.confidence:.3f}  {detection.label}  {list(detection.box)}")
    click.echo(golden.check(answer, precision))


@models.command()
@click.argument("model")
@models_dir_option
@json_option
def rm(model: str, models_dir: Path | None, as_json: bool) -> None:
    """Removes what was downloaded and prepared of MODEL from the models directory, and says what.

    Your own folders and files stay, and so does the embedded model.
    """
    directory = load_settings(models_dir=models_dir).models_dir
    # What was remembered of it may be damaged, and then goes with the rest.
    source = ModelSource(model, "", {}) if is_damaged(directory, model) else find_source(model, directory)
    removed = remove_source(source, directory)
    if as_json:
        click.echo(json.dumps({"model": model, "removed": [str(path) for path in removed]}))
        return
    for path in removed:
        click.echo(f"removed {path}")
    if not removed:
        click.echo(f"there is nothing of {model} in {directory}")


def _requirements(model: str, source: ModelSource, settings: Settings) -> dict:
    disk, memory = source.requirements(settings.max_pixels)
    return {
        "model": model,
        "description": source.description,
        "disk_bytes": disk,
        "memory_bytes": memory,
        "verified": source.verified,
    }


def _mebibytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 2**20:.0f} MiB"
