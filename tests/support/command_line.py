"""The command line in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from barevision.cli import main


def run(*arguments: object, stdin: bytes | None = None, **environment: str) -> Result:
    """What `barevision` with `arguments` prints and how it exits, with `environment` beside the process's own."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin, env=environment)
