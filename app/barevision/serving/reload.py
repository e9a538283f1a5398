"""Reloads that try the model first, because Gunicorn itself would stop if its new workers can't load it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

from gunicorn.arbiter import Arbiter

from barevision.serving.environment_file import parse_environment
from barevision.settings import PREFIX, SETTINGS_FILE

_TRIAL_SECONDS = 300


def try_reloads(arbiter: Arbiter) -> None:
    """Makes `arbiter` obey SIGHUP only if the model of the new settings finds its golden image's detections.

    The new settings are those of the file that BAREVISION_SETTINGS_FILE names, which systemd reads only when it starts
    the service. Without that variable, the settings stay as they were at the start. A worker that replaces a dead one
    gets the settings of the last reload.

    A thread waits for the trial, so that the arbiter replaces a worker that dies meanwhile, and stops when it is told
    to. What the thread has proven it hands over with a second SIGHUP, because only the main thread may reload.
    """
    reload = arbiter.reload
    asked = Event()
    proven: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()

    def ask_or_reload() -> None:
        if proven.empty():
            asked.set()
            return
        os.environ.clear()
        os.environ.update(proven.get())
        reload()

    def try_when_asked() -> None:
        while asked.wait():
            asked.clear()
            try:
                environment = read_environment()
                _try_model(environment)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                arbiter.log.error("Nothing is reloaded, the service goes on as it was: %s", error)
                continue
            proven.put(environment)
            os.kill(os.getpid(), signal.SIGHUP)

    arbiter.reload = ask_or_reload
    Thread(target=try_when_asked, name="trials", daemon=True).start()


def _try_model(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "barevision", "models", "check", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False)
    # Not the exit status: the arbiter waits for any child of its, and may have taken it.
    if '"finding":' not in done.stdout:
        raise ValueError(done.stderr.strip() or "the trial of the model was killed")


def read_environment() -> dict[str, str]:
    """This process's environment, with the settings of the settings file in place of those of the start.

    :raises OSError: the settings file can't be read.
    :raises ValueError: a line of it is not NAME="value".
    """
    if SETTINGS_FILE not in os.environ:
        return dict(os.environ)
    path = Path(os.environ[SETTINGS_FILE])
    kept = {name: value for name, value in os.environ.items() if name == SETTINGS_FILE or not name.startswith(PREFIX)}
    try:
        # Not read_text(), which would make line ends of carriage returns.
        return kept | parse_environment(path.read_bytes().decode())
    except ValueError as error:
        raise ValueError(f"{path} has {error}") from None
