"""The command line: ``barevision predict``, ``serve``, ``models`` and ``info``."""

from __future__ import annotations

import importlib

import click

from barevision import __version__
from barevision.errors import BarevisionError

# Each command's module and what --help says of it here. The modules import OpenCV, ONNX and an engine, which together
# take a second: --help and a misspelt command should not cost that.
_COMMANDS = {
    "predict": "Predicts IMAGES and prints what is on them.",
    "serve": "Serves on this machine, for trying out unless --production is given.",
    "models": "The models that can be served.",
    "info": "How a model is run on this machine, and how fast that is.",
}


class _LazyGroup(click.Group):
    """A group that imports a command when it is run. Foreseen failures end in a line on stderr, not in a traceback."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        return getattr(importlib.import_module(f"barevision.cli.{name}"), name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BarevisionError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="barevision")
def main() -> None:
    """Finds objects on pictures, here or on a Barevision service.

    Every setting is an environment variable BAREVISION_<NAME>; see docs/settings.md.
    """
