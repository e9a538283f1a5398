"""The OpenAPI document: valid, complete, and true of the running service; and the page that shows it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings, strategies
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode

from barevision.api import BLUEPRINTS
from barevision.api.openapi import openapi_document
from barevision.models.catalogue import find_source
from tests.support.serving import serving

#: The page at /, and what it and the page at /docs are made of: not for clients.
_UNDESCRIBED = ("page.", "documents.docs_file")


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> dict:
    return client.get("/openapi.json").json


def test_the_document_is_valid(document: dict) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_path_is_described(client: FlaskClient, document: dict) -> None:
    rules = client.application.url_map.iter_rules()
    paths = {re.sub(r"<(\w+)>", r"{\1}", rule.rule) for rule in rules if not rule.endpoint.startswith(_UNDESCRIBED)}
    assert paths == set(document["paths"])


def test_parameters_are_described_as_they_are_checked(document: dict) -> None:
    parameters = {item["name"]: item["schema"] for item in document["paths"]["/predict"]["post"]["parameters"]}
    assert set(parameters) == {"confidence", "nms", "classes", "limit", "per_class_nms", "annotate"}
    assert parameters["confidence"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert "stop" in parameters["classes"]["items"]["enum"]


def test_headers_of_answers_are_described(document: dict) -> None:
    answers = document["paths"]["/predict"]["post"]["responses"]
    assert set(answers["200"]["headers"]) == {"X-Request-ID", "Server-Timing"}
    assert answers["503"]["headers"]["Retry-After"] == {"$ref": "#/components/headers/Retry-After"}
    assert document["components"]["headers"]["X-Request-ID"]["required"] is True


def document_without_a_model() -> dict:
    """What the service will say of itself: known here, before there is one, so that each path can be a test."""
    app = Flask("barevision")
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return json.loads(json.dumps(openapi_document(app, {"classes": _LABELS})))


_ROADSIGNS = find_source("roadsigns")
_LABELS = (_ROADSIGNS.folder / "roadsigns.names").read_text("utf-8").splitlines()
_PICTURE = _ROADSIGNS.golden.picture
_BASE64 = base64.b64encode(_PICTURE).decode()
for media_type in ("application/octet-stream", "image/jpeg", "image/png"):
    schemathesis.openapi.media_type(media_type, strategies.just(_PICTURE))
schema = schemathesis.openapi.from_dict(document_without_a_model())
# Its default has no 413, the answer to a form with too many parts.
schema.config.checks.negative_data_rejection.expected_statuses = ["400", "404", "406", "413", "415", "422"]


def test_the_service_says_what_is_tested_here(document: dict) -> None:
    assert document == document_without_a_model()


@pytest.fixture(scope="module")
def production() -> Iterator[str]:
    """The address of Gunicorn, as on a VM."""
    with serving("--production", "--model", "roadsigns") as (url, *_):
        yield url


_EXAMPLES = settings(
    max_examples=30, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def right_and_wrong() -> Iterator:
    """Each operation with requests that are as described, and with others if there is something to do wrong."""
    for found in schema.get_all_operations():
        operation = found.ok()
        yield pytest.param(operation, GenerationMode.POSITIVE, id=f"right {operation.label}")
        if operation.query or operation.body:
            yield pytest.param(operation, GenerationMode.NEGATIVE, id=f"wrong {operation.label}")


# Not schemathesis' own decorator, whose tests have one name all together: pytest-xdist then runs only one of them.
@pytest.mark.parametrize(("operation", "mode"), [*right_and_wrong()])
def test_the_service_is_as_described(
    operation: schemathesis.APIOperation, mode: GenerationMode, production: str
) -> None:
    """Answers have the described statuses, types and forms; what is described as right is taken, other things not."""

    @_EXAMPLES
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        give_a_picture(case)
        case.call_and_validate(base_url=production)

    check()


def give_a_picture(case: schemathesis.Case) -> None:
    """Puts a picture where a case that should be taken has one: JSON Schema can't say what is a picture.

    Nor can it say which labels a model has, or how long the JSON before a binary tensor is.
    """
    if not case.meta.generation.mode.is_positive:
        return
    body = case.body
    if case.path.endswith("/infer"):
        case.headers.pop("Inference-Header-Content-Length", None)
        served = {"name": "roadsigns", "version": "1"}
        case.path_parameters = {name: served[name] for name in case.path_parameters}
        body.get("parameters", {}).pop("classes", None)
        body["inputs"][0]["data"] = [_BASE64]
    elif isinstance(body, dict):
        body.pop("classes", None)
        # What stands in the address may not stand in the body as well.
        for name in case.query:
            body.pop(name, None)
        body["image"] = _BASE64 if case.media_type == "application/json" else _PICTURE
