"""What several commands take and print."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import click

from barevision.settings import KEY


class Share(click.FloatRange):
    """A number from 0 to 1, which NaN is not."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number = super().convert(value, parameter, context)
        if math.isnan(number):
            self.fail(f"{value!r} is not in the range 0<=x<=1.", parameter, context)
        return number


model_option = click.option(
    "--model",
    help="A name, a folder or an .onnx file, @SIZE after it if you like. [default: $BAREVISION_MODEL or roadsigns]",
)
models_dir_option = click.option(
    "--models-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where models are kept. [default: $BAREVISION_MODELS_DIR]",
)
url_option = click.option("--url", help="Ask the service at this address instead of predicting in this process.")
key_option = click.option(
    "--key",
    envvar=KEY,
    help=f"The key for a service that needs one; others can see what a command line has. [env: {KEY}]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")


def progress() -> Callable[[str, int, int | None], None]:
    """Prints a download's progress on stderr: in place on a terminal, every tenth in a log."""
    shown: dict[str, int] = {}

    def show(name: str, there: int, total: int | None) -> None:
        steps = 100 if sys.stderr.isatty() else 10
        step = there * steps // total if total else there // (10 * 2**20)
        if shown.get(name) == step:
            return
        shown[name] = step
        end = "\n" if there == total or not sys.stderr.isatty() else "\r"
        share = f"of {total / 2**20:.1f} MiB ({there * 100 // total} %)" if total else "MiB"
        line = f"{name}: {there / 2**20:.1f} {share}"
        print(line, end=end, file=sys.stderr, flush=True)

    return show
