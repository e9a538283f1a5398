"""What the browser is given for the page, and how it may keep it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from barevision import web
from barevision.api import create_app
from barevision.detector import Detector
from barevision.models.catalogue import find_source
from tests.support.problems import assert_problem


def linked(html: str) -> list[str]:
    """The addresses that the page loads."""
    return sorted(set(re.findall(r'(?:href|src)="(web/[^"]+)"', html)))


def test_the_page_has_all_it_asks_for(client: FlaskClient) -> None:
    paths = linked(client.get("/").text)
    folder = Path(web.__file__).parent
    files = {path.name for path in folder.iterdir() if path.suffix in {".css", ".js", ".svg"}}
    assert {Path(path).name for path in paths} == files
    for path in paths:
        response = client.get(f"/{path}")
        assert response.data == (folder / Path(path).name).read_bytes()
        kind = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}[Path(path).suffix]
        assert response.content_type == f"{kind}; charset=utf-8"
        for name in re.findall(r'from "\./([^"]+)"', response.text):
            assert name in files


def test_files_are_kept_for_good_and_the_page_is_asked_for_anew(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.headers["Cache-Control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")

    path = linked(page.text)[0]
    assert client.get(f"/{path}").headers["Cache-Control"] == "public, immutable, max-age=31536000"
    # What another release's page asks for is there, and not kept in its name.
    other = client.get("/web/000000000000/main.js")
    assert (other.status_code, other.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ["/", "/web/x/main.js", "/sample.jpg", "/web/x/nothing.js"])
def test_the_browser_is_told_to_load_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["img-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Permissions-Policy"] == "camera=(self), microphone=(), geolocation=()"


@pytest.mark.parametrize(
    "path", ["/web/x/nothing.js", "/web/x/index.html", "/web/x/__init__.py", "/web/x/..%2fwsgi.py"]
)
def test_no_other_file_is_given(client: FlaskClient, path: str) -> None:
    assert_problem(client.get(path), 404)


def test_the_sample_is_the_golden_image(client: FlaskClient) -> None:
    response = client.get("/sample.jpg")
    assert (response.data, response.content_type) == (find_source("roadsigns").golden.picture, "image/jpeg")


def test_a_model_without_a_golden_image_has_no_sample(roadsigns: Detector) -> None:
    labels = ["<b>cat</b>", "dog"]
    client = create_app(replace(roadsigns, model=replace(roadsigns.model, golden=None, labels=labels))).test_client()
    assert assert_problem(client.get("/sample.jpg"), 404)["detail"] == "the model has no golden image"
    text = client.get("/").text
    assert 'id="sample"' not in text
    assert "&lt;b&gt;cat&lt;/b&gt;, dog" in text


def test_the_page_starts_with_the_services_settings(roadsigns: Detector) -> None:
    settings = roadsigns.settings.model_copy(update={"confidence": 0.35, "max_bytes": 3 * 2**19})
    text = create_app(replace(roadsigns, settings=settings)).test_client().get("/").text
    assert 'value="0.35"' in text
    assert f'data-max-bytes="{3 * 2**19}"' in text
    assert "up to 1.5 MB" in text
