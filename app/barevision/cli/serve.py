"""``barevision serve``."""

from __future__ import annotations

import click

from barevision.cli.options import model_option, progress
from barevision.settings import load_settings


@click.command()
@model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def serve(model: str | None, host: str, port: int) -> None:
    """Serves on this machine, for trying out; a VM runs Gunicorn instead (see roles/gunicorn)."""
    from werkzeug.serving import run_simple

    from barevision.api import create_app
    from barevision.detector import load_detector
    from barevision.logs import configure_logging

    settings = load_settings(model=model)
    configure_logging(settings.log_level)
    app = create_app(load_detector(settings, progress()))
    click.echo(f"Barevision listens on http://{host}:{port} (Ctrl-C ends it)")
    run_simple(host, port, app, threaded=True)
