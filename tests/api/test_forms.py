"""How forms come apart, and what hostile ones cost. test_uploads.py has what is taken of them."""

from __future__ import annotations

import os
from urllib.parse import quote_plus

import pytest
from werkzeug.exceptions import BadRequest

from barevision.api.forms import find_boundary, read_multipart, read_urlencoded
from tests.fuzz.service import running_service

_HEAD = b'--B\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"'
_ALLOWED = 20 * 2**20
_MULTIPART, _URLENCODED = "multipart/form-data; boundary=B", "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "named", "boundary"),
    [
        (b"--B\r\nContent-Type: x\r\n\r\n--B--", "B", b"B"),
        (b"a preamble\r\n--B\r\n", "B", b"B"),
        (b"--B\r\nContent-Type: x\r\n\r\n--B--", "", b"B"),
        (b"--B\r\nContent-Type: x\r\n\r\n--B--", "C", b"B"),
        (b"\r\n----B C \nContent-Type: x\r\n\r\n--B--", "", b"--B C"),
        (b"--\xff\r\nContent-Type: x", "\xff", b"\xff"),
        (b"--Bcd\r\nContent-Type: x\r\n\r\n--B--", "B", b"B"),
        (b"--Bcd\r\nContent-Type: x\r\n\r\n--Bcd--", "B", b"Bcd"),
        (b"--B\r\nContent-Type: x\r\n\r\n--B--", "--B", b"B"),
        (b"a preamble\r\n--B\r\n", "", None),
        (b"-- a comment\r\nand text", "", None),
        (b"", "B", None),
    ],
)
def test_the_boundary_is_the_named_one_or_the_bodys_own(body: bytes, named: str, boundary: bytes | None) -> None:
    assert find_boundary(body, named) == boundary


def test_parts_keep_their_order_and_every_byte() -> None:
    contents = [os.urandom(1000), b"", b"\r\n", b"\r\n--Bx\r\n-", os.urandom(100_000) + b"\r\n"]
    body = b"".join(_HEAD + b"\r\n\r\n" + content + b"\r\n" for content in contents) + b"--B--"
    assert [part.content for part in read_multipart(body, b"B")] == contents


@pytest.mark.parametrize("blanks", [b"", b"    "])
def test_a_form_is_found_wherever_its_preamble_ends(blanks: bytes) -> None:
    """Werkzeug gets the body in pieces of 64 KiB."""
    part = _HEAD.replace(b"--B", b"--B" + blanks, 1) + b"\r\n\r\nx\r\n--B--"
    for length in range(65_500, 65_540):
        body = b"p" * length + b"\r\n" + part
        assert find_boundary(body, "B") == b"B"
        assert [part.content for part in read_multipart(body, b"B")] == [b"x"]


def test_parts_are_decoded_as_they_say() -> None:
    lines = {"base64": b"aGVs\r\nbG8=", "Quoted-Printable": b"h=65llo", "binary": b"hello", "8bit": b"hello"}
    body = b"".join(
        _HEAD + f"\r\nContent-Transfer-Encoding: {name}\r\n\r\n".encode() + text + b"\r\n"
        for name, text in lines.items()
    )
    assert [part.content for part in read_multipart(body + b"--B--", b"B")] == [b"hello"] * 4
    with pytest.raises(BadRequest, match="part 1 of the form is not base64, as its Content-Transfer-Encoding says"):
        read_multipart(_HEAD + b"\r\nContent-Transfer-Encoding: base64\r\n\r\na\r\n--B--", b"B")


def test_urlencoded_fields_keep_their_order_and_every_byte() -> None:
    contents = [bytes(range(256)) * 20, b"", b"=", b"a=b&c+d e%", "ä".encode(), b"\n", b"x" * 5000]
    body = "&".join(f"n%C3%A4me={quote_plus(content)}" for content in contents).encode()
    parts = read_urlencoded(body)
    assert [part.content for part in parts] == contents
    assert {part.name for part in parts} == {"näme"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.mark.parametrize(
    ("content_type", "start", "filler", "end", "status"),
    [
        (_MULTIPART, _HEAD + b"\r\n", b"a\n", b"\r\n\r\nx\r\n--B--", 413),
        (_MULTIPART, _HEAD + b"\r\nX: a", b"\r\n a", b"\r\n\r\nx\r\n--B--", 413),
        (_MULTIPART, b"", _HEAD + b"\r\n\r\nx\r\n", b"--B--", 413),
        (_MULTIPART, _HEAD + b"\r\n\r\n", b"\r", b"", 400),
        (_MULTIPART, _HEAD.partition(b"; file")[0] + b"\r\n\r\n", b"\xff", b"\r\n--B--", 400),
        ("text/plain", b"--a", b" ", b"", 400),
        (_URLENCODED, b"image=", b"%41", b"", 400),
        (_URLENCODED, b"", b"a=&", b"", 413),
        (_URLENCODED, b"a=", b"%z", b"", 400),
        ("application/json", b'{"image": "', b"A\\n", b'"}', 400),
        ("application/json", b'{"image": "AAAA", "', b"k", b'": 1}', 422),
    ],
    ids=[
        "lines of a header",
        "continued header",
        "parts",
        "no end",
        "field",
        "first line",
        "percent signs",
        "fields",
        "stray percent signs",
        "JSON text",
        "JSON key",
    ],
)
def test_a_hostile_body_takes_little_more_than_itself(
    service, content_type: str, start: bytes, filler: bytes, end: bytes, status: int
) -> None:
    """An object for each line of a part's header took 1.6 GB, which a machine's OOM killer ends the worker for."""
    body = start + filler * ((_ALLOWED - len(start + end)) // len(filler)) + end
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    service.forget_peak()
    before = service.memory()
    answered, answer = service.ask(f"{head}Content-Type: {content_type}\r\n\r\n".encode() + body)
    assert answered == status, answer
    assert len(answer) < 2000
    assert service.memory("VmHWM") - before < 8 * _ALLOWED
    assert service.memory() - before < 2 * _ALLOWED
