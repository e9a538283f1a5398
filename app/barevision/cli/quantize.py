"""``barevision models quantize``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from barevision.cli.inputs import find_pictures
from barevision.cli.options import json_option, models_dir_option, progress
from barevision.detector import load_detector
from barevision.errors import QuantizingError
from barevision.settings import load_settings

if TYPE_CHECKING:
    from barevision.quantizing import Report

_PATH = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("model")
@click.option(
    "--calibration",
    required=True,
    type=_PATH,
    help="A folder of pictures like those that will be asked about: 64 or more, of everything that is to be found.",
)
@click.option(
    "--pictures",
    type=_PATH,
    help="A folder of other pictures, to measure with. [default: every fourth of those to calibrate with, which then "
    "isn't calibrated with]",
)
@click.option(
    "--labels",
    type=_PATH,
    help="What is on the pictures: a folder of YOLO's text files, called like the pictures, or a COCO .json file. Then "
    "mAP is measured, and decides.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to be made, which then is the model. [default: MODEL-int8 here]",
)
@click.option(
    "--max-loss",
    type=float,
    default=1.0,
    show_default=True,
    metavar="POINTS",
    help="With labels: points of mAP50 (of 100) that may be lost.",
)
@click.option(
    "--min-matched",
    type=float,
    default=97,
    show_default=True,
    metavar="PERCENT",
    help="Without labels: boxes that must be the same as the model's own.",
)
@models_dir_option
@json_option
def quantize(
    model: str,
    calibration: Path,
    pictures: Path | None,
    labels: Path | None,
    output: Path | None,
    max_loss: float,
    min_matched: float,
    models_dir: Path | None,
    as_json: bool,
) -> None:
    """Makes a smaller and faster model of MODEL, which computes with numbers of 8 bits, if it answers nearly the same.

    Pictures show it the numbers that it meets; others show what was lost. The new model is a folder, to be named like
    any other model of your own:

    \b
      pip install 'barevision[quantize]'
      barevision models quantize yolov3 --calibration photos/ --output yolov3-int8
      barevision serve --model ./yolov3-int8

    What answers too differently is refused (exit status 1), and nothing is written. Networks of depthwise convolutions
    (YOLO-Fastest) gain little; the report says how fast both are here.
    """
    # NNCF takes seconds to import, and may not be there.
    from barevision import quantizing

    quantizing.require_packages()
    # f32 by ONNX Runtime is what other ways of running a model are compared with.
    settings = load_settings(model=model, models_dir=models_dir, engine="onnxruntime", precision="f32")
    exact = load_detector(settings, progress())
    found = [picture.path for picture in find_pictures([str(calibration)], None)]
    others = [picture.path for picture in find_pictures([str(pictures)], None)] if pictures else None
    if others is None:
        found, others = quantizing.split_pictures(found)
        if not others:
            raise QuantizingError(
                f"{calibration} has {len(found)} pictures, too few to keep some apart to measure with: put more "
                "there, or name others with --pictures"
            )
    if len(found) < quantizing.FEW_PICTURES:
        click.echo(
            f"warning: {len(found)} pictures to calibrate with are few; {quantizing.FEW_PICTURES} or more of what the "
            "model will see make it better",
            err=True,
        )
    report = quantizing.quantize(
        exact,
        found,
        others,
        labels,
        quantizing.Bound(max_loss, min_matched / 100),
        output or Path(f"{exact.model.name}-int8"),
        lambda words: click.echo(words, err=True),
    )
    click.echo(json.dumps(report.to_json()) if as_json else _in_words(report))
    if not report.adopted:
        raise QuantizingError(
            f"{report.model} was not quantized: {report.objection}. {len(report.tries)} ways were tried, and nothing "
            "was written. More pictures to calibrate with may help; --max-loss and --min-matched allow more."
        )


def _in_words(report: Report) -> str:
    """The report, a line for each thing that was measured."""
    best = report.best
    lines = [f"{report.model} is quantized: {report.output}"] if report.adopted else []
    lines.append(f"boxes that f32 and int8 both find on {report.measured} other pictures: {best.agreement:.1%}")
    if report.accuracy and best.accuracy:
        (before, before_95), (after, after_95) = report.accuracy, best.accuracy
        what = f"mAP50 {before:.2f} -> {after:.2f}, mAP50-95 {before_95:.2f} -> {after_95:.2f}"
        lines.append(f"{what}, on {report.labelled} labelled pictures")
    lines.append(f"size {report.bytes / 2**20:.1f} -> {best.bytes / 2**20:.1f} MiB")
    times = ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in report.seconds.items())
    lines.append(f"an inference here ({report.processor}): {times}")
    if "int8" not in min(report.seconds, key=report.seconds.get):
        lines.append("int8 is not the fastest here: serve the model itself, unless memory counts more")
    return "\n".join(lines)
