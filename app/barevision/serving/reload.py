"""Gunicorn's reload, tried first: over a model that can't be loaded, Gunicorn itself would stop."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from gunicorn.arbiter import Arbiter

_PREFIX = "BAREVISION_"
_LIMIT_SECONDS = 300


def try_reloads(arbiter: Arbiter, settings_path: Path | None = None) -> None:
    """Has `arbiter` do what SIGHUP asks for only if the model of the new settings answers its golden image.

    For Gunicorn's hook `when_ready`, which is called once, in the process that gets the signal.

    :param settings_path: the file of the service's settings, as systemd reads it. Workers that are started between two
        reloads get those of the last one. If None, settings stay what they were at the start.
    """
    reload = arbiter.reload

    def reload_if_good() -> None:
        try:
            environment = _environment(settings_path)
            _check(environment)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            words = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
            arbiter.log.error("Nothing is reloaded, what runs goes on: %s", words.strip())
            return
        os.environ.clear()
        os.environ.update(environment)
        reload()

    arbiter.reload = reload_if_good


def _environment(settings_path: Path | None) -> dict[str, str]:
    if settings_path is None:
        return dict(os.environ)
    others = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
    return {**others, **_settings(settings_path)}


def _settings(path: Path) -> dict[str, str]:
    """:raises ValueError: a line is not NAME="value"."""
    settings = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            settings.update(word.split("=", 1) for word in words)
        except ValueError:
            raise ValueError(f'{path}, line {number} is {line!r}, expected NAME="value"') from None
    return settings


def _check(environment: dict[str, str]) -> None:
    """:raises subprocess.SubprocessError: the model of the settings in `environment` can't be served."""
    command = [sys.executable, "-m", "barevision", "models", "check"]
    subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=True)
