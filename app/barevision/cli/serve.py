"""``barevision serve``."""

from __future__ import annotations

import errno
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from barevision.cli.options import model_option, progress
from barevision.settings import load_settings


@click.command()
@model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=5000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port, 0 for a free one.",
)
@click.option("--reload", "reloads", is_flag=True, help="Start anew when Barevision's code changes.")
@click.option("--production", is_flag=True, help="Serve with Gunicorn and a VM's settings for it.")
def serve(model: str | None, host: str, port: int, reloads: bool, production: bool) -> None:
    """Serves on this machine, for trying out unless --production is given."""
    if reloads and production:
        raise click.UsageError("--reload is for development; --production keeps the code that it started with")
    if production:
        _become_gunicorn(model, host, port)
    if reloads:
        _serve_and_reload(model, host, port)
        return
    with _listen(host, port) as listener:
        _serve(model, host, listener)


def _serve(model: str | None, host: str, listener: socket.socket) -> None:
    from werkzeug.serving import make_server

    port = listener.getsockname()[1]
    server = make_server(host, port, _app(model), threaded=True, fd=listener.fileno())
    _announce(host, port)
    server.serve_forever()


def _serve_and_reload(model: str | None, host: str, port: int) -> None:
    """Runs this command again as a process of its own, which inherits the port and serves."""
    from werkzeug.serving import is_running_from_reloader, run_simple

    app = None
    if is_running_from_reloader():
        app = _app_or_failure(model)
    else:
        with _listen(host, port) as listener:
            port = listener.getsockname()[1]
        _announce(host, port)
    # A module that can't be imported is watched as well.
    modules = [str(path) for path in Path(__file__).parents[1].rglob("*.py")]
    run_simple(host, port, app, use_reloader=True, extra_files=modules, threaded=True)


def _app_or_failure(model: str | None) -> Callable:
    """The service, or while its code is half edited what says so: the reloader ends with a process that fails."""
    try:
        return _app(model)
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError):
        from werkzeug.wrappers import Response

        failure = traceback.format_exc()
        click.echo(f"{failure}Barevision waits for the next change", err=True)
        return Response(failure, 500, content_type="text/plain; charset=utf-8")


def _become_gunicorn(model: str | None, host: str, port: int) -> NoReturn:
    from barevision.models.catalogue import find_source
    from barevision.models.prepare import prepare

    listener = _listen(host, port)
    settings = load_settings(model=model)
    # Gunicorn would take a worker that downloads and converts a model for dead, so the model is prepared before.
    prepare(find_source(settings.model, settings.models_dir), settings.models_dir, progress())
    listener.set_inheritable(True)
    _announce(host, listener.getsockname()[1])
    os.environ["BAREVISION_MODEL"] = settings.model
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:barevision.serving.gunicorn_conf"]
    os.execv(sys.executable, [*gunicorn, "--bind", f"fd://{listener.fileno()}", "barevision.serving.wsgi:app"])


def _app(model: str | None) -> Callable:
    from barevision.api import create_app
    from barevision.api.logs import configure_logging
    from barevision.detector import load_detector

    settings = load_settings(model=model)
    configure_logging(settings.log_level)
    return create_app(load_detector(settings, progress()))


def _announce(host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else host
    click.echo(f"Barevision listens on http://{name}:{port} (Ctrl-C ends it)")


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before a model is loaded for nothing.

    :raises click.ClickException: the port is taken or not allowed, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise click.ClickException(_in_words(error, host, port)) from None


def _in_words(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another with --port, or --port 0 for a free one"
    if error.errno == errno.EACCES:
        return f"port {port} needs root; choose one from 1024 with --port, or --port 0 for a free one"
    return f"can't listen on --host {host}: {error.strerror}"
