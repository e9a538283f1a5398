"""Requests with whole and damaged pictures, whole and damaged themselves. A dialect more is an `Endpoint` more."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote, quote_plus

from tests.fuzz.pictures import change_bytes, damaged

#: Those without a value are left out.
Headers = dict[str, str | None]

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
    bodies: tuple[str, ...] = ("raw", "form", "json", "urlencoded")
    parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)


_SELECTION = {
    "confidence": ("0.1", "0.9"),
    "nms": ("0.3", "1"),
    "classes": ("stop", "stop,crossing", "stop,,stop"),
    "limit": ("1", "100000"),
    "per_class_nms": ("true", "false"),
}
ENDPOINTS = (
    Endpoint("/predict", parameters={**_SELECTION, "annotate": ("true", "false")}),
    Endpoint(
        "/v1/vision/detection",
        ("form", "form", "raw", "urlencoded"),
        {"min_confidence": ("0.1", "0.9"), "api_key": ("x",)},
    ),
    Endpoint("/v2/models/roadsigns/infer", ("inference", "inference", "binary inference", "json"), _SELECTION),
)
#: What answers without a picture.
OTHER_PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/info",
    "/openapi.json",
    "/docs",
    "/",
    "/sample.jpg",
    "/v1/vision/custom/list",
    "/v1/status/ping",
    "/v2",
    "/v2/models/roadsigns",
    "/v2/models/%00/ready",
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
        return _framed(number, method, path, {}, body, chance)
    endpoint = chance.choice(ENDPOINTS)
    picture = chance.choice(pictures)
    if chance.random() < 0.8:
        picture = damaged(picture, pictures, chance)
    elif chance.random() < 0.1:
        picture = b""
    headers, body = BODIES[chance.choice(endpoint.bodies)](picture, endpoint, chance)
    # Seldom: a form that can't be read tries nothing behind it.
    if chance.random() < 0.15:
        body = change_bytes(body, [], chance)
    if chance.random() < 0.1:
        headers["Content-Type"] = chance.choice(_TYPES)
    headers["Accept"] = chance.choice(_ACCEPTS)
    return _framed(number, "POST", endpoint.path + _query(endpoint, chance), headers, body, chance)


def _query(endpoint: Endpoint, chance: Random) -> str:
    if chance.random() < 0.8:
        return ""
    names = [*endpoint.parameters, "other", "", "confidence"]
    chosen = [chance.choice(names) for _ in range(chance.choice((1, 1, 2, 5)))]
    pairs = [(name, chance.choice((*endpoint.parameters.get(name, ()), *_TEXTS))) for name in chosen]
    query = "&".join(f"{name}={quote(value)}" for name, value in pairs)
    return "?" + (query if chance.random() < 0.9 else chance.choice(("&&&", "%ff=%fe", "confidence", "=", "a" * 5000)))


def _framed(number: int, method: str, target: str, headers: Headers, body: bytes, chance: Random) -> Sent:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
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


def _raw(picture: bytes, _: Endpoint, chance: Random) -> tuple[Headers, bytes]:
    return {"Content-Type": chance.choice(("image/jpeg", "image/jpg", "application/octet-stream", None))}, picture


def _json(picture: bytes, endpoint: Endpoint, chance: Random) -> tuple[Headers, bytes]:
    text = base64.b64encode(picture).decode()
    value = chance.choice((text,) * 6 + (f"data:image/png;base64,{text}", text[:-1], None, 7, [text], {"image": text}))
    body = chance.choice(
        ({"image": value},) * 6 + ({"Image": value}, [value], value, {"image": value, "more": [1] * 50})
    )
    if isinstance(body, dict):
        body |= _some_fields(endpoint, chance)
    encoding = chance.choice(("utf-8",) * 8 + ("utf-16", "utf-8-sig"))
    type_ = chance.choice(("application/json",) * 4 + ("application/vnd.api+json", "text/plain", None))
    return {"Content-Type": type_}, json.dumps(body).encode(encoding)


def _some_fields(endpoint: Endpoint, chance: Random) -> dict[str, object]:
    """Parameters as JSON or a form has them beside the picture, mostly none."""
    names = [name for name in (*endpoint.parameters, "size", "k" * 3000) if chance.random() < 0.05]
    others = (0.5, 7, -1, True, None, [1], {"a": 1}, 10**400)
    return {name: chance.choice((*endpoint.parameters.get(name, ()), *_TEXTS, *others)) for name in names}


def _urlencoded(picture: bytes, endpoint: Endpoint, chance: Random) -> tuple[Headers, bytes]:
    """As curl and requests send a dictionary: the picture as base64, escaped or not, or as escaped bytes."""
    text = base64.b64encode(picture)
    value = chance.choice((text, quote_plus(text).encode(), quote_plus(picture).encode(), text[:-1], b"%", b"%zz"))
    pairs = [(name.encode(), quote_plus(str(value)).encode()) for name, value in _some_fields(endpoint, chance).items()]
    pairs += [(name.encode(), value) for name in chance.choice((["image"],) * 5 + (["file"], [], ["image"] * 25))]
    chance.shuffle(pairs)
    body = b"&".join(name + b"=" + value for name, value in pairs)
    return {"Content-Type": "application/x-www-form-urlencoded"}, chance.choice((body,) * 8 + (body + b"&" * 30,))


def _inference(picture: bytes, endpoint: Endpoint, chance: Random) -> tuple[Headers, bytes]:
    body = _inference_json(endpoint, chance, data=[base64.b64encode(picture).decode()])
    return {"Content-Type": "application/json"}, json.dumps(body).encode()


def _binary_inference(picture: bytes, endpoint: Endpoint, chance: Random) -> tuple[Headers, bytes]:
    """The picture behind the JSON, after its length in four bytes."""
    length = chance.choice((len(picture),) * 6 + (0, 2**32 - 1, len(picture) + 1))
    tensor = struct.pack("<I", length) + picture
    sizes = (len(tensor),) * 6 + (0, -1, 2**40, None, "x")
    head = json.dumps(_inference_json(endpoint, chance, parameters={"binary_data_size": chance.choice(sizes)})).encode()
    announced = chance.choice((len(head),) * 6 + (0, -1, 10**9, "x", ""))
    return {"Inference-Header-Content-Length": str(announced)}, head + tensor


def _inference_json(endpoint: Endpoint, chance: Random, **tensor: object) -> dict:
    image = {"name": "image", "datatype": "BYTES", "shape": chance.choice(([1],) * 5 + ([2], [], [1, 1], 1)), **tensor}
    asked = {"inputs": chance.choice(([image],) * 6 + ([], [image, image], image))}
    if chance.random() < 0.3:
        name = chance.choice((*endpoint.parameters, "other"))
        asked["parameters"] = {name: chance.choice((0.5, True, None, "stop", 7, 1e308, [1], -1))}
    if chance.random() < 0.3:
        binary = {"binary_data": chance.choice((True, False, 1, "x"))}
        asked["outputs"] = [{"name": chance.choice(("boxes", "labels", "colour")), "parameters": binary}]
    return asked


# What clients on other systems than UTF-8's make of a file's name, and what stands where a name is expected.
_FILE_NAMES = (
    *(b'; filename="%s"' % name for name in (b"x.jpg", b"x.jpg", b"", b"../../x", "ä".encode(), b"a" * 500)),
    *('; filename="{}"'.format("图片表.jpg").encode(encoding) for encoding in ("gbk", "utf-8", "utf-16")),
    "; filename=Ofslútdyk.jpg".encode("latin-1"),
    '; filename="表"'.encode("shift-jis"),
    b"; filename*=GBK''%CD%BC.jpg",
    b'; filename="x.jpg"\r\nContent-Type: image/jpeg',
    b'; filename="x.jpg"\r\nX: ' + b"a\r\n " * 6000,
    b'; filename="x.jpg"\n' + b"a\n" * 500,
    b"\r\nContent-Type: application/octet-stream",
    b"",
)


def _form(picture: bytes, endpoint: Endpoint, chance: Random) -> tuple[Headers, bytes]:
    boundary = chance.choice(("B", "--", "-" * 70, "a'b"))
    content = chance.choice((picture,) * 12 + (base64.b64encode(picture), b"\r\n--" + boundary.encode() + picture))
    parts = [
        _part(boundary, name.encode(), chance.choice(_FILE_NAMES), content)
        for name in chance.choice((["image"],) * 5 + ([], ["file"], ["image", "image"], [""], ["image"] * 25))
    ]
    parts += [
        _part(boundary, name.encode(), b"", str(value).encode(errors="replace"))
        for name, value in _some_fields(endpoint, chance).items()
    ]
    chance.shuffle(parts)
    end = chance.choice((f"--{boundary}--\r\n",) * 6 + ("", f"--{boundary}", f"--{boundary}\r\n"))
    body = b"".join(parts) + end.encode()
    if chance.random() < 0.05:
        body = body.replace(b"\r\n", b"\n")
    named = chance.choice((f"; boundary={boundary}",) * 8 + ("", "; boundary=other", f'; boundary="{boundary}"; x=y'))
    kind = chance.choice(("multipart/form-data",) * 9 + ("multipart/mixed",))
    return {"Content-Type": kind + named}, body


def _part(boundary: str, name: bytes, more: bytes, content: bytes) -> bytes:
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (boundary.encode(), name, more)
    return head + content + b"\r\n"


Body = Callable[[bytes, Endpoint, Random], tuple[Headers, bytes]]
BODIES: dict[str, Body] = {
    "raw": _raw,
    "form": _form,
    "urlencoded": _urlencoded,
    "json": _json,
    "inference": _inference,
    "binary inference": _binary_inference,
}
