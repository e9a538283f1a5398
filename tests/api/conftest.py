"""The embedded model behind HTTP: in this process, and on a port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from barevision.api import create_app
from barevision.detector import Detector
from barevision.models.catalogue import find_source
from barevision.objects import Detection
from tests.support.serving import served


@pytest.fixture(scope="module")
def client(roadsigns: Detector) -> FlaskClient:
    return create_app(roadsigns).test_client()


@pytest.fixture(scope="module")
def picture() -> bytes:
    return find_source("roadsigns").golden.image


@pytest.fixture(scope="module")
def expected() -> list[Detection]:
    return find_source("roadsigns").golden.expected


@pytest.fixture(scope="module")
def url(roadsigns: Detector) -> Iterator[str]:
    with served(create_app(roadsigns)) as address:
        yield address
