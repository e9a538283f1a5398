"""The embedded model behind HTTP: in this process, and on a port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from barevision.api import create_app
from barevision.detector import Detector
from barevision.models import find_source


@pytest.fixture(scope="module")
def client(roadsigns: Detector) -> FlaskClient:
    return create_app(roadsigns).test_client()


@pytest.fixture(scope="module")
def picture() -> bytes:
    return find_source("roadsigns").golden.image


@pytest.fixture(scope="module")
def expected() -> list[dict]:
    return find_source("roadsigns").golden.expected


@pytest.fixture(scope="module")
def url(roadsigns: Detector) -> Iterator[str]:
    with served(create_app(roadsigns)) as address:
        yield address


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address at which `app` answers."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
