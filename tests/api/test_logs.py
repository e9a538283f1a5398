"""The log of a process: a JSON object a line."""

from __future__ import annotations

import json
import re
import subprocess
import sys

_LOGGING = """
import logging, sys, warnings
from flask import Flask, g
from barevision.api.metrics import Metrics
from barevision.api.readiness import Readiness
from barevision.engines import Plan
from barevision.processes import only_process
from barevision.api.record import Record
from barevision.api.logs import configure_logging
configure_logging(sys.argv[1])
app = Flask("barevision")
logging.getLogger("barevision.api").info("request", extra={"status": 200, "path": 'a"\\n{'})
with app.test_request_context():
    g.record = Record("mine-1", Metrics("roadsigns", Plan(), Readiness(lambda: "", 60), only_process()))
    warnings.warn("a tag\\nis damaged")
    try:
        1 / 0
    except ZeroDivisionError:
        app.logger.exception("Exception on %s", "/")
logging.getLogger("werkzeug").info("a second line")
logging.getLogger("PIL.TiffImagePlugin").debug("tag: Artist (315) - value: somebody")
"""


def logged(level: str) -> list[dict]:
    done = subprocess.run([sys.executable, "-c", _LOGGING, level], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_log_is_a_json_object_a_line() -> None:
    request, warning, failure = logged("info")
    assert (request["level"], request["logger"], request["message"]) == ("INFO", "barevision.api", "request")
    assert (request["status"], request["path"]) == (200, 'a"\n{')
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", request["time"])
    assert (failure["level"], failure["request_id"]) == ("ERROR", "mine-1")
    assert (warning["level"], warning["request_id"]) == ("WARNING", "mine-1")
    assert "UserWarning: a tag\nis damaged" in warning["message"]
    assert "ZeroDivisionError" in failure["exc_info"]


def test_the_level_is_a_setting_and_no_level_logs_pictures() -> None:
    assert [line["logger"] for line in logged("debug")] == ["barevision.api", "py.warnings", "barevision"]
    assert [line["level"] for line in logged("warning")] == ["WARNING", "ERROR"]
