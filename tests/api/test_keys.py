"""Who may ask where keys are needed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from barevision.api import create_app
from barevision.detector import Detector

KEY, OTHER, OWN = "k" * 43, "o" * 43, "m" * 43


def write(path: Path, **keys: str) -> None:
    """Writes the file as playbooks/keys.yml does, another one in place of the one before."""
    entries = [{"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest()} for name, key in keys.items()]
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps({"own": OWN, "keys": entries}))
    beside.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    write(path, ada=KEY)
    return path


@pytest.fixture
def client(roadsigns: Detector, path: Path) -> FlaskClient:
    """Of a service that wants a key."""
    settings = roadsigns.settings.model_copy(update={"keys_file": path})
    return create_app(replace(roadsigns, settings=settings)).test_client()


HEADERS = [
    {"X-API-Key": KEY},
    {"Authorization": f"Bearer {KEY}"},
    {"Authorization": f"bearer  {KEY} "},
    {"X-API-Key": KEY, "Authorization": "Basic eDp5"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_whoever_has_a_key_may_ask(client: FlaskClient, picture: bytes, headers: dict) -> None:
    assert client.post("/predict", data=picture, headers=headers).status_code == 200
    assert client.get("/info", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": OTHER},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": ""},
        {"X-API-Key": hashlib.sha256(KEY.encode()).hexdigest()},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"X-API-Key": "\xe4" * 50_000},
        # It says of itself that it is the machine.
        {"X-Forwarded-For": "127.0.0.1"},
    ],
    ids=lambda headers: str(headers)[:60],
)
@pytest.mark.parametrize("path_", ["/predict", "/info", "/v1/vision/custom/list", "/v2", "/v2/models/roadsigns/infer"])
def test_nobody_else_may(client: FlaskClient, picture: bytes, headers: dict, path_: str) -> None:
    method = "POST" if path_ in ("/predict", "/v2/models/roadsigns/infer") else "GET"
    response = client.open(path_, method=method, data=picture, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    if path_ == "/predict":
        assert response.content_type == "application/problem+json"
        assert response.json["title"] == "Unauthorized"


@pytest.mark.parametrize(
    "path_", ["/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/sample.jpg", "/v2/health/ready"]
)
def test_health_the_page_and_documents_are_open(client: FlaskClient, path_: str) -> None:
    assert client.get(path_).status_code == 200


def test_the_machine_has_a_key_too(client: FlaskClient, picture: bytes) -> None:
    """Another program on it may pass strangers' requests on: the address is not enough."""
    from_nginx = {"environ_overrides": {"REMOTE_ADDR": ""}, "headers": {"X-Forwarded-For": "127.0.0.1"}}
    assert client.post("/predict", data=picture, **from_nginx).status_code == 401
    assert client.post("/predict", data=picture, headers={"X-API-Key": OWN}).status_code == 200


def test_deepstacks_clients_may_send_it_in_their_form(client: FlaskClient, picture: bytes) -> None:
    def ask(**fields: str) -> tuple[int, dict]:
        form = {"image": (BytesIO(picture), "a.jpg"), **fields}
        response = client.post("/v1/vision/detection", data=form)
        return response.status_code, response.json

    assert ask(api_key=KEY)[0] == 200
    status, answer = ask(api_key=OTHER)
    assert (status, answer["success"]) == (401, False)
    assert ask()[1]["error"] == "a key is needed: send it as X-API-Key"
    in_header = client.post("/v1/vision/detection", data=picture, headers={"X-API-Key": KEY})
    assert in_header.status_code == 200


def test_keys_come_and_go_without_a_restart(client: FlaskClient, path: Path) -> None:
    write(path, ada=KEY, bob=OTHER)
    assert client.get("/info", headers={"X-API-Key": OTHER}).status_code == 200
    write(path, bob=OTHER)
    assert client.get("/info", headers={"X-API-Key": KEY}).status_code == 401


@pytest.mark.parametrize("content", [None, "{", "[]", '{"keys": []}', '{"own": "o", "keys": [{"name": "ada"}]}'])
def test_without_a_readable_file_nobody_is_let_in(client: FlaskClient, path: Path, content: str | None) -> None:
    assert client.get("/info", headers={"X-API-Key": KEY}).status_code == 200
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert client.get("/info", headers={"X-API-Key": KEY}).status_code == 401
    assert client.get("/readyz").status_code == 200
    write(path, ada=KEY)
    assert client.get("/info", headers={"X-API-Key": KEY}).status_code == 200


def test_where_no_key_is_needed_one_is_no_obstacle(roadsigns: Detector, picture: bytes) -> None:
    client = create_app(roadsigns).test_client()
    assert client.post("/predict", data=picture, headers={"X-API-Key": OTHER}).status_code == 200
