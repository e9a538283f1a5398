"""Requests with whole and damaged pictures, whole and damaged themselves. A dialect more is an `Endpoint` more."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote

from tests.fuzz.pictures import change_bytes, damaged

_TEXTS = (
    "",
    "0",
    "1",
    "-1",
    "0.5",
    "2",
    "nan",
    "inf",
    "1e309",
    "x",
    "ä",
    "%",
    "0x1",
    "9" * 400,
    "dog",
    "a,b",
    "\0",
    "[]",
)


@dataclass(frozen=True)
class Endpoint:
    """Where pictures are sent to.

    :ivar bodies: in which ways, keys of `BODIES`.
    :ivar parameters: sensible values of query parameters and form fields.
    """

    path: str
    bodies: tuple[str, ...] = ("raw", "form", "json")
    parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)


ENDPOINTS = (
    Endpoint(
        "/predict",
        parameters={"confidence": ("0.1", "0.9"), "nms": ("0.3", "1")},
    ),
)
#: What answers without a picture.
OTHER_PATHS = (
    "/healthz",
    "/readyz",
    "/",
    "/nothing",
    "/predict/",
    "/predict/../healthz",
    "//predict",
    "/%00",
    "/predict;x",
)

_ACCEPTS = (
    None,
    None,
    "*/*",
    "application/json",
    "image/jpeg",
    "image/png",
    "image/*;q=0.5",
    "text/html",
    "x",
    ";q=",
    "ä",
)
_TYPES = (
    None,
    "",
    "image/jpeg",
    "application/octet-stream",
    "application/json",
    "application/json; charset=utf-16",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=" + "b" * 300,
    "multipart/mixed; boundary=B",
    "application/x-www-form-urlencoded",
    "text/plain; charset=nonsense",
    "x" * 5000,
    "\xff",
)


@dataclass(frozen=True)
class Sent:
    """A request as it goes over the connection.

    :ivar framed: its header and body fit together, so that an answer has to come.
    """

    number: int
    head: bytes
    body: bytes
    framed: bool


def make_request(seed: int, number: int, pictures: list[bytes]) -> Sent:
    """The request `number` of the series `seed`, the same one every time for the same `pictures`."""
    chance = Random(f"{seed} {number}")
    if chance.random() < 0.05:
        method, path, body = (
            chance.choice(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST")),
            chance.choice(OTHER_PATHS),
            b"",
        )
        return _framed(number, method, path, [], body, chance)
    endpoint = chance.choice(ENDPOINTS)
    picture = chance.choice(pictures)
    if chance.random() < 0.8:
        picture = damaged(picture, pictures, chance)
    elif chance.random() < 0.1:
        picture = b""
    content_type, body = BODIES[chance.choice(endpoint.bodies)](picture, endpoint, chance)
    # Seldom: a form that can't be read tries nothing behind it.
    if chance.random() < 0.15:
        body = change_bytes(body, [], chance)
    if chance.random() < 0.1:
        content_type = chance.choice(_TYPES)
    headers = [("Content-Type", content_type), ("Accept", chance.choice(_ACCEPTS))]
    return _framed(number, "POST", endpoint.path + _query(endpoint, chance), headers, body, chance)


def _query(endpoint: Endpoint, chance: Random) -> str:
    if chance.random() < 0.8:
        return ""
    names = [*endpoint.parameters, "other", "", "confidence"]
    chosen = [chance.choice(names) for _ in range(chance.choice((1, 1, 2, 5)))]
    pairs = [(name, chance.choice((*endpoint.parameters.get(name, ()), *_TEXTS))) for name in chosen]
    query = "&".join(f"{name}={quote(value)}" for name, value in pairs)
    return "?" + (query if chance.random() < 0.9 else chance.choice(("&&&", "%ff=%fe", "confidence", "=", "a" * 5000)))


def _framed(number: int, method: str, target: str, headers: list, body: bytes, chance: Random) -> Sent:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers if value is not None]
    way = chance.choice(("length",) * 12 + ("chunks", "chunks", "bad chunks", "too long", "too short", "nonsense"))
    if way in ("chunks", "bad chunks"):
        lines.append("Transfer-Encoding: chunked")
        body = _chunks(body, chance)
        if way == "bad chunks":
            body = change_bytes(body, [], chance)
    elif way == "nonsense":
        lines.append(
            chance.choice(("Content-Length: x", "Content-Length: -1", "Transfer-Encoding: gzip", "Expect: x", ":"))
        )
    else:
        shift = {"too long": 100, "too short": -min(len(body), 100)}.get(way, 0)
        lines.append(f"Content-Length: {len(body) + shift}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return Sent(number, head, body, way in ("length", "chunks", "too short"))


def _chunks(body: bytes, chance: Random) -> bytes:
    parts, position = [], 0
    while position < len(body):
        piece = body[position : position + chance.choice((1, 100, 10_000, 100_000))]
        parts.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        position += len(piece)
        if len(parts) > 200:
            parts.append(b"%x\r\n%s\r\n" % (len(body) - position, body[position:]) if position < len(body) else b"")
            break
    return b"".join([*parts, b"0\r\n\r\n"])


# ---- Bodies


def _raw(picture: bytes, _: Endpoint, chance: Random) -> tuple[str | None, bytes]:
    return chance.choice(("image/jpeg", "image/jpg", "application/octet-stream", None)), picture


def _json(picture: bytes, _: Endpoint, chance: Random) -> tuple[str | None, bytes]:
    text = base64.b64encode(picture).decode()
    value = chance.choice((text,) * 6 + (f"data:image/png;base64,{text}", text[:-1], None, 7, [text], {"image": text}))
    body = chance.choice(
        ({"image": value},) * 6 + ({"Image": value}, [value], value, {"image": value, "more": [1] * 50})
    )
    return "application/json", json.dumps(body).encode(chance.choice(("utf-8",) * 8 + ("utf-16", "utf-8-sig")))


def _form(picture: bytes, endpoint: Endpoint, chance: Random) -> tuple[str | None, bytes]:
    boundary = chance.choice(("B", "--", "-" * 70, "a'b"))
    parts = [
        _part(boundary, name, f'; filename="{chance.choice(("x.jpg", "", "../../x", "ä", "a" * 500))}"', picture)
        for name in chance.choice((["image"],) * 5 + ([], ["file"], ["image", "image"], [""], ["image"] * 25))
    ]
    parts += [
        _part(boundary, name, "", chance.choice((*values, *_TEXTS)).encode())
        for name, values in endpoint.parameters.items()
        if chance.random() < 0.1
    ]
    chance.shuffle(parts)
    end = chance.choice((f"--{boundary}--\r\n",) * 6 + ("", f"--{boundary}"))
    return f"multipart/form-data; boundary={boundary}", b"".join(parts) + end.encode()


def _part(boundary: str, name: str, more: str, content: bytes) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


Body = Callable[[bytes, Endpoint, Random], tuple[str | None, bytes]]
BODIES: dict[str, Body] = {"raw": _raw, "form": _form, "json": _json}
