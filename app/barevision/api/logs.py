"""The log: a JSON object a line on stdout, where systemd's journal or a terminal takes it."""

from __future__ import annotations

import logging
import logging.config

from flask import g, has_request_context
from pythonjsonlogger.json import JsonFormatter


class _RequestId(logging.Filter):
    """Adds a request's ID to each line that is logged while the request is handled."""

    def filter(self, record: logging.LogRecord) -> bool:
        if has_request_context() and "record" in g and not hasattr(record, "request_id"):
            record.request_id = g.record.id
        return True


def configure_logging(level: str) -> None:
    """Makes this process log what is at least as grave as `level`: "debug", "info", "warning" or "error"."""
    # Python would write a warning as two lines of text, of which nobody knows which request they belong to.
    logging.captureWarnings(True)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": JsonFormatter,
                    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
                    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                }
            },
            "filters": {"request_id": {"()": _RequestId}},
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "formatter": "json",
                    "filters": ["request_id"],
                }
            },
            "root": {"level": level.upper(), "handlers": ["stdout"]},
            # The development server's own line for each request would be a second one; Pillow's debugging is what
            # stands in pictures.
            "loggers": {"werkzeug": {"level": "WARNING"}, "PIL": {"level": "WARNING"}},
        }
    )
