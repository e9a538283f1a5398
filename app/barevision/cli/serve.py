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
from werkzeug.serving import is_running_from_reloader, make_server, run_simple
from werkzeug.wrappers import Response

from barevision import serving
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
    """Serves on this machine, for trying out unless --production is given.

    Put NGINX before it where strangers can reach it, as the roles do: clients that send slowly keep its threads.
    """
    if reloads and production:
        raise click.UsageError("--reload is for development; --production keeps the code that it started with")
    if reloads:
        _serve_and_reload(model, host, port)
        return
    # The port is taken before a model is loaded for nothing.
    with _listen(host, port) as listener:
        if production:
            _become_gunicorn(model, host, listener)
        port = listener.getsockname()[1]
        server = make_server(host, port, _load_app(model), threaded=True, fd=listener.fileno())
        _announce(host, port)
        server.serve_forever()


def _load_app(model: str | None) -> Callable:
    # Imported here, so that --reload outlives a module that is half edited.
    from barevision.api import create_app
    from barevision.api.logs import configure_logging
    from barevision.detector import load_detector

    settings = load_settings(model=model)
    configure_logging(settings.log_level)
    return create_app(load_detector(settings, progress(), measures=True))


def _serve_and_reload(model: str | None, host: str, port: int) -> None:
    """Runs this command again as a process of its own, which inherits the port and serves."""
    app = None
    if is_running_from_reloader():
        try:
            app = _load_app(model)
        except (SyntaxError, ImportError, NameError, AttributeError, TypeError):
            # The reloader ends with a process that fails, so this one answers what is wrong until the code changes.
            failure = traceback.format_exc()
            click.echo(f"{failure}Barevision waits for the next change", err=True)
            app = Response(failure, 500, content_type="text/plain; charset=utf-8")
    else:
        with _listen(host, port) as listener:
            port = listener.getsockname()[1]
        _announce(host, port)
    # A module that can't be imported is watched as well.
    modules = [str(path) for path in Path(__file__).parents[1].rglob("*.py")]
    run_simple(host, port, app, use_reloader=True, extra_files=modules, threaded=True)


def _become_gunicorn(model: str | None, host: str, listener: socket.socket) -> NoReturn:
    from barevision.models.catalogue import find_source
    from barevision.models.prepare import prepare

    settings = load_settings(model=model)
    # Gunicorn would take a worker that downloads and converts a model for dead, so the model is prepared before.
    prepare(find_source(settings.model, settings.models_dir), settings.models_dir, progress())
    listener.set_inheritable(True)
    _announce(host, listener.getsockname()[1])
    os.environ["BAREVISION_MODEL"] = settings.model
    config = Path(serving.__file__).with_name("gunicorn_conf.py")
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", str(config)]
    os.execv(sys.executable, [*gunicorn, "--bind", f"fd://{listener.fileno()}", "barevision.serving.wsgi:app"])


def _announce(host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else host
    click.echo(f"Barevision listens on http://{name}:{port} (Ctrl-C ends it)")


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    :raises click.ClickException: the port is taken or not allowed, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        words = f"can't listen on --host {host}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            words = f"port {port} of {host} is in use; choose another with --port, or --port 0 for a free one"
        if error.errno == errno.EACCES:
            words = f"port {port} needs root; choose one from 1024 with --port, or --port 0 for a free one"
        raise click.ClickException(words) from None
