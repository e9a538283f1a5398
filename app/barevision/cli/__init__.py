"""The command line: ``barevision predict``, ``serve`` and ``models``."""

from __future__ import annotations

import click

from barevision import __version__
from barevision.cli.models import models
from barevision.cli.predict import predict
from barevision.cli.serve import serve
from barevision.errors import BarevisionError

# The rest of the package is imported where it is used: OpenCV, ONNX and an engine together take a second, which --help
# and a misspelt option should not cost.


class _Group(click.Group):
    """A group of commands whose foreseen failures end in one line on stderr, not in a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BarevisionError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="barevision")
def main() -> None:
    """Finds objects on pictures, here or on a Barevision service.

    Every setting is an environment variable BAREVISION_<NAME>; see docs/settings.md.
    """


main.add_command(predict)
main.add_command(serve)
main.add_command(models)
