"""Problem documents, the form of most errors over HTTP (RFC 9457)."""

from __future__ import annotations

import json

import requests
from werkzeug.test import TestResponse


def assert_problem(response: TestResponse | requests.Response, status: int) -> dict:
    """The problem document that `response` is, with all of its fields and this status."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    document = json.loads(response.text)
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status
    return document
