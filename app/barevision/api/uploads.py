"""The encoded pictures of a request, in whichever way they were sent, and what was sent beside them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from flask import abort, request
from werkzeug.exceptions import RequestEntityTooLarge, UnprocessableEntity

from barevision.api.errors import quoted
from barevision.api.forms import Part, find_boundary, read_multipart, read_urlencoded
from barevision.api.service import current_service

# Each value and each level of nesting in JSON costs one of these marks, so counting them bounds what json.loads has to
# build. An honest {"image": "<base64>"} has one, or two with a data URL.
_JSON_MARKS = (b"{", b"[", b",")
_MOST_JSON_MARKS = 100
_LARGEST_FIELD = 64 * 1024
_FIELDS_CHARACTERS = 200
_JSON_FORM = '{"image": "<base64>"}'
_PICTURE_FIELD = "image"
# JPEG, PNG, GIF, BMP, TIFF in both byte orders, WebP, and AVIF behind a length. No text begins so: a class may be BMW.
_PICTURE_START = re.compile(
    rb"\xff\xd8|\x89PNG|GIF8[79]a|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP|\0\0..ftyp", re.DOTALL
)
_PICTURE_TYPES = ("image/", "application/octet-stream")

#: A picture as the whole body, for the OpenAPI document.
PICTURE_BODY = {"application/octet-stream": {}, "image/jpeg": {}, "image/png": {}}
#: A picture as a file of a form, likewise. Any other field's name will do, which OpenAPI can't say.
PICTURE_FORM = {
    "type": "object",
    "properties": {_PICTURE_FIELD: {"type": "string", "contentMediaType": "application/octet-stream"}},
    "required": [_PICTURE_FIELD],
}


@dataclass(frozen=True)
class Upload:
    """A picture that was sent: `read` gives its bytes; `name` is its file's, or ""."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Sent:
    """What a body has: `uploads`, at least one, and what else a form or a JSON object names, unchecked."""

    uploads: list[Upload]
    fields: list[tuple[str, object]]


def read_sent() -> Sent:
    """The request's pictures and fields: a form's in order, the base64 in a JSON object, or else the body.

    What the body begins like counts more than its type, which many clients set without a look at it: curl says
    application/x-www-form-urlencoded of all that it sends.

    :raises HTTPException: 400 without a picture, 413 if the body is too large, 415 if it is compressed, 422 if a field
        is too long.
    """
    body = read_body()
    if _PICTURE_START.match(body):
        return Sent([_upload("", body)], [])
    named = request.mimetype_params.get("boundary", "")
    boundary = find_boundary(body, named)
    if boundary is not None:
        return _of_form(read_multipart(body, boundary))
    if request.mimetype == "multipart/form-data":
        wrong = f"the boundary {quoted(named)} is not in the body" if named else "the Content-Type has no boundary"
        abort(400, f"{wrong}, so the form can't be read; let the HTTP client write the Content-Type of a form itself")
    if request.is_json or re.match(rb"\s*{", body):
        return _of_json(parse_json(body, _JSON_FORM))
    if request.mimetype == "application/x-www-form-urlencoded" and re.match(rb"[\w.%+-]+=", body):
        return _of_form(read_urlencoded(body))
    return Sent([_upload("", body)], [])


def _upload(name: str, picture: bytes) -> Upload:
    return Upload(name, lambda: picture)


def _of_form(parts: list[Part]) -> Sent:
    uploads, fields = [], []
    for part in parts:
        is_picture = part.content_type.startswith(_PICTURE_TYPES) or _PICTURE_START.match(part.content)
        if part.filename is not None or is_picture:
            uploads.append(_upload(part.filename or "", part.content))
        elif part.name == _PICTURE_FIELD:
            # A plus sign that was not escaped has become a space.
            text = part.content.replace(b" ", b"+").decode("latin-1")
            uploads.append(_upload("", _from_base64(text, "neither a picture nor base64")))
        else:
            fields.append((part.name, part.content))
    if not uploads:
        names = ", ".join(name for name, _ in fields if name)[:_FIELDS_CHARACTERS] or "none"
        abort(400, f"the form has no picture; send it as a file. Its fields without a file name: {names}")
    for name, content in fields:
        if len(content) > _LARGEST_FIELD:
            length = len(content)
            raise UnprocessableEntity(f"the field {quoted(name)} has {length} bytes, allowed are {_LARGEST_FIELD}")
    return Sent(uploads, [(name, content.decode(errors="replace")) for name, content in fields])


def _of_json(content: object) -> Sent:
    if not isinstance(content, dict) or not isinstance(content.get(_PICTURE_FIELD), str):
        abort(400, f"expected {_JSON_FORM}")
    picture = _from_base64(content.pop(_PICTURE_FIELD), "not valid base64")
    return Sent([_upload("", picture)], [*content.items()])


def _from_base64(text: str, wrong: str) -> bytes:
    try:
        return decode_base64(text)
    except ValueError:
        abort(400, f'"{_PICTURE_FIELD}" is {wrong}')


def read_body() -> bytes:
    """The body as it is.

    :raises HTTPException: 413 if it is too large, 415 if it is compressed.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        abort(415, "the body is compressed, which does little for pictures; send it as it is")
    # Without cache=False, Flask would keep a second reference to it until the answer is sent.
    body = request.get_data(cache=False)
    if len(body) > current_service().detector.settings.max_bytes:
        raise RequestEntityTooLarge
    return body


def parse_json(body: bytes, expected: str) -> object:
    """The JSON in `body`, refused with 400 if it has more values than any honest request.

    :param expected: what an error says that the body should be.
    """
    if sum(body.count(mark) for mark in _JSON_MARKS) > _MOST_JSON_MARKS:
        abort(400, f"the JSON has more than {_MOST_JSON_MARKS} values, expected {expected}")
    try:
        return json.loads(body, object_pairs_hook=_json_object)
    except ValueError as error:
        abort(400, f"the body is not JSON ({error}), expected {expected}")


def _json_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"it has {quoted(twice)} twice")
    return dict(pairs)


def decode_base64(text: str) -> bytes:
    """The bytes in `text`, which may be a `data:` URL, and have line breaks as base64 in mail and from base64(1) has.

    :raises ValueError: it is not base64.
    """
    try:
        return base64.b64decode("".join((text.partition("base64,")[2] or text).split()), validate=True)
    except ValueError:
        raise ValueError("not valid base64") from None
