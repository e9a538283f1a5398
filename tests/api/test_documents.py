"""The page that shows the API, GET /docs."""

from __future__ import annotations

import re

from flask.testing import FlaskClient


def test_the_documents_page_takes_nothing_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in page.text.replace("HTTP", "")
    for name in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        with client.get(f"/{name}") as response:
            assert response.status_code == 200
            assert len(response.data) > 100
    for name in ("../openapi.json", "nothing.js", "index.html", "%2e%2e%2f__init__.py"):
        assert client.get(f"/docs/{name}").status_code == 404, name
