"""The encoded pictures of a request, in whichever way they were sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

from flask import abort, request
from werkzeug.exceptions import RequestEntityTooLarge

from barevision.api.service import current_service

# Each value and each level of nesting in JSON costs one of these marks, so counting them bounds what json.loads has to
# build. An honest {"image": "<base64>"} has one, or two with a data URL.
_JSON_MARKS = (b"{", b"[", b",")
_MOST_JSON_MARKS = 100
_FIELDS_CHARACTERS = 200
_JSON_FORM = '{"image": "<base64>"}'

#: A picture as the whole body, for the OpenAPI document.
PICTURE_BODY = {"application/octet-stream": {}, "image/jpeg": {}, "image/png": {}}
#: A picture as a file of a form, likewise. Any other field's name will do, which OpenAPI can't say.
PICTURE_FORM = {
    "type": "object",
    "properties": {"image": {"type": "string", "contentMediaType": "application/octet-stream"}},
    "required": ["image"],
}


@dataclass(frozen=True)
class Upload:
    """A picture that was sent: `read` gives its bytes, and is to be called once; `name` is its file's, or ""."""

    name: str
    read: Callable[[], bytes]


def read_uploads() -> list[Upload]:
    """The request's pictures, at least one: a form's files in order, the base64 in a JSON object, or else the body.

    :raises HTTPException: 400 without a picture, 413 if the body is too large, 415 if it is compressed.
    """
    if request.mimetype == "multipart/form-data":
        _refuse_compression()
        uploads = [Upload(file.filename or "", file.read) for _, file in request.files.items(multi=True)]
        if not uploads:
            fields = ", ".join(filter(None, request.form))[:_FIELDS_CHARACTERS] or "none"
            abort(
                400,
                f"the form has no file, only these fields without a file name: {fields}; send the picture as a file",
            )
        return uploads
    if request.mimetype != "application/json":
        body = read_body()
        return [Upload("", lambda: body)]
    content = parse_json(read_body(), _JSON_FORM)
    text = content.get("image") if isinstance(content, dict) else None
    if not isinstance(text, str):
        abort(400, f"expected {_JSON_FORM}")
    try:
        picture = decode_base64(text)
    except ValueError as error:
        abort(400, f'"image" is {error}')
    return [Upload("", lambda: picture)]


def read_body() -> bytes:
    """The body as it is.

    :raises HTTPException: 413 if it is too large, 415 if it is compressed.
    """
    _refuse_compression()
    # Without cache=False, Flask would keep a second reference to it until the answer is sent.
    body = request.get_data(cache=False)
    if len(body) > current_service().detector.settings.max_bytes:
        raise RequestEntityTooLarge
    return body


def _refuse_compression() -> None:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        abort(415, "the body is compressed, which does little for pictures; send it as it is")


def parse_json(body: bytes, expected: str) -> object:
    """The JSON in `body`, refused with 400 if it has more values than any honest request.

    :param expected: what an error says that the body should be.
    """
    if sum(body.count(mark) for mark in _JSON_MARKS) > _MOST_JSON_MARKS:
        abort(400, f"the JSON has more than {_MOST_JSON_MARKS} values, expected {expected}")
    try:
        return json.loads(body)
    except ValueError as error:
        abort(400, f"the body is not JSON ({error}), expected {expected}")


def decode_base64(text: str) -> bytes:
    """The bytes in `text`, which may be a `data:` URL, and have line breaks as base64 in mail and from base64(1) has.

    :raises ValueError: it is not base64.
    """
    try:
        return base64.b64decode("".join((text.partition("base64,")[2] or text).split()), validate=True)
    except ValueError:
        raise ValueError("not valid base64") from None
