"""The command line: ``barevision predict``, ``serve`` and ``models``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import click

from barevision import __version__
from barevision.settings import SettingsError, load_settings

# The rest of the package is imported where it is used: OpenCV, ONNX and an engine together take a second, which --help
# and a misspelt option should not cost.


class _Group(click.Group):
    """A group of commands whose expected failures end in one line on stderr, not in a traceback."""

    def invoke(self, context: click.Context) -> object:
        from barevision.client import ServiceError
        from barevision.darknet import DarknetError
        from barevision.detector import WrongAnswerError
        from barevision.engines import EngineError
        from barevision.models import ModelError

        expected = (
            SettingsError,
            ModelError,
            DarknetError,
            EngineError,
            ServiceError,
            WrongAnswerError,
        )
        try:
            return super().invoke(context)
        except expected as error:
            raise click.ClickException(str(error)) from error


class _Share(click.FloatRange):
    """A number from 0 to 1, which NaN is not."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number = super().convert(value, parameter, context)
        if math.isnan(number):
            self.fail(f"{value!r} is not in the range 0<=x<=1.", parameter, context)
        return number


_model_option = click.option("--model", help="A catalogue name or a folder. [default: $BAREVISION_MODEL or roadsigns]")
_models_dir_option = click.option(
    "--models-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where models are kept. [default: $BAREVISION_MODELS_DIR]",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="barevision")
def main() -> None:
    """Finds objects on pictures, here or on a Barevision service.

    Every setting is an environment variable BAREVISION_<NAME>; see docs/settings.md.
    """


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@_model_option
@click.option("--url", help="Ask the service at this address instead of predicting in this process.")
@click.option("--confidence", type=_Share(), help="Answer detections above it. [default: 0.5]")
@click.option("--nms", type=_Share(), help="Largest overlap of two boxes. [default: 0.3]")
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write annotated pictures into this folder.",
)
@_json_option
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


@main.command()
@_model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def serve(model: str | None, host: str, port: int) -> None:
    """Serves on this machine, for trying out; a VM runs Gunicorn instead (see roles/gunicorn)."""
    from werkzeug.serving import run_simple

    from barevision.api import create_app
    from barevision.detector import load_detector

    app = create_app(load_detector(load_settings(model=model), _progress()))
    click.echo(f"Barevision listens on http://{host}:{port} (Ctrl-C ends it)")
    run_simple(host, port, app, threaded=True)


@main.group()
def models() -> None:
    """The models that can be served."""


@models.command("list")
@_json_option
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
@_json_option
def model_requirements(model: str, as_json: bool) -> None:
    """What MODEL takes, without fetching it."""
    row = _requirements(model)
    if as_json:
        click.echo(json.dumps(row))
    else:
        click.echo(f"{model}: {_megabytes(row['disk_bytes'])} disk, {_megabytes(row['memory_bytes'])} memory")


@models.command()
@click.argument("model")
@_models_dir_option
def pull(model: str, models_dir: Path | None) -> None:
    """Fetches the files of MODEL and verifies them."""
    from barevision.models import find_source
    from barevision.models import pull as pull_model

    folder = pull_model(find_source(model), load_settings(models_dir=models_dir).models_dir, _progress())
    click.echo(f"{model} is in {folder}")


@models.command()
@click.argument("model")
@_models_dir_option
@_json_option
def prepare(model: str, models_dir: Path | None, as_json: bool) -> None:
    """Fetches MODEL, converts it and checks its golden image; does nothing if that was done."""
    from barevision.detector import load_detector

    settings = load_settings(model=model, models_dir=models_dir)
    detector = load_detector(settings, _progress())
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
@_models_dir_option
@click.option("--url", help="Ask the service at this address instead of predicting in this process.")
def check(model: str, models_dir: Path | None, url: str | None) -> None:
    """Checks that MODEL answers its golden image rightly, here or on a service."""
    from barevision.client import Client
    from barevision.detection import encode_image
    from barevision.detector import check_answer, drawn_picture, load_detector
    from barevision.models import find_source

    if not url:
        click.echo(load_detector(load_settings(model=model, models_dir=models_dir), _progress()).check())
        return
    golden = find_source(model).golden
    client = Client(url)
    if golden is None:
        client.predict(encode_image(drawn_picture(), ".jpg"))
        click.echo(f"{model} has no golden image; {url} answered a drawn picture")
        return
    click.echo(check_answer(golden, client.predict(golden.image, confidence=0.5, nms=0.3)))


def _local(model: str | None, confidence: float | None, nms: float | None) -> Callable[[bytes], list[dict]]:
    from barevision.detection import decode_image
    from barevision.detector import load_detector

    settings = load_settings(model=model)
    detector = load_detector(settings, _progress())
    return lambda data: detector.predict(decode_image(data, settings.max_pixels), confidence, nms)


def _remote(url: str, confidence: float | None, nms: float | None) -> Callable[[bytes], list[dict]]:
    from barevision.client import Client

    client = Client(url)
    given = {"confidence": confidence, "nms": nms}
    parameters = {name: value for name, value in given.items() if value is not None}
    return lambda data: client.predict(data, **parameters)


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


def _progress() -> Callable[[str, int, int], None]:
    """Prints a download's progress on stderr: in place on a terminal, every tenth in a log."""
    shown: dict[str, int] = {}

    def show(name: str, there: int, total: int) -> None:
        steps = 100 if sys.stderr.isatty() else 10
        step = there * steps // total
        if shown.get(name) == step:
            return
        shown[name] = step
        end = "\n" if there == total or not sys.stderr.isatty() else "\r"
        line = f"{name}: {there / 2**20:.1f} of {total / 2**20:.1f} MiB ({there * 100 // total} %)"
        print(line, end=end, file=sys.stderr, flush=True)

    return show
