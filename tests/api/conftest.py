"""The embedded model behind HTTP, in this process; `url` is the same on a port."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from barevision.api import create_app
from barevision.detector import Detector
from barevision.models.catalogue import find_source
from barevision.objects import Detection
from tests.support.engines import FakeEngine


@pytest.fixture(scope="session")
def client(roadsigns: Detector) -> FlaskClient:
    """Of one service for all tests that leave it as it is."""
    return create_app(roadsigns).test_client()


@pytest.fixture
def engine(roadsigns: Detector) -> FakeEngine:
    """The engine of `app`, which answers as the model's own until a test has it answer something else."""
    return FakeEngine.like(roadsigns.engine)


@pytest.fixture
def app(roadsigns: Detector, engine: FakeEngine) -> Flask:
    """A service of its own for each test, with its own counts."""
    return create_app(replace(roadsigns, engine=engine))


@pytest.fixture(scope="session")
def picture() -> bytes:
    return find_source("roadsigns").golden.picture


@pytest.fixture(scope="session")
def expected() -> list[Detection]:
    return find_source("roadsigns").golden.expected
