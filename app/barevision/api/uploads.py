"""The encoded pictures of a request, in whichever way they were sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

from flask import abort, request
from werkzeug.exceptions import RequestEntityTooLarge

from barevision.api.service import service

# {"image": "<base64>"} has two of them with a data URL. Each one more may be a value to make, or a level to descend.
_MAX_JSON_MARKS = 100
_SHOWN_CHARACTERS = 200
_JSON_FORM = '{"image": "<base64>"}'


@dataclass(frozen=True)
class Upload:
    """A picture that was sent: `read` gives its bytes, once; `name` is its file's, or ""."""

    name: str
    read: Callable[[], bytes]


def read_pictures() -> list[Upload]:
    """At least one: the files of a form in their order, the base64 in a JSON object, or else the body as it is."""
    _refuse_compressed()
    if request.mimetype == "multipart/form-data":
        return _pictures_in_form()
    data = _picture_in_json() if request.mimetype == "application/json" else read_body()
    return [Upload("", lambda: data)]


def read_body() -> bytes:
    """The body as it is."""
    _refuse_compressed()
    # Flask would keep a second reference to it until the answer is sent.
    data = request.get_data(cache=False)
    if len(data) > service.detector.settings.max_bytes:
        raise RequestEntityTooLarge
    return data


def parse_json(body: bytes, expected: str) -> object:
    """The JSON in `body`, refused with 400 if it has more values than any honest request.

    :param expected: what an error says that it should be.
    """
    if sum(body.count(mark) for mark in (b"{", b"[", b",")) > _MAX_JSON_MARKS:
        abort(400, f"the JSON has more than {_MAX_JSON_MARKS} values, expected {expected}")
    try:
        return json.loads(body)
    except ValueError as error:
        abort(400, f"the body is no JSON ({error}), expected {expected}")


def decode_base64(text: str) -> bytes:
    """The bytes in `text`, which may be a `data:` URL and have line breaks, as mail's and base64(1)'s has.

    :raises ValueError: it is no base64.
    """
    try:
        return base64.b64decode("".join((text.partition("base64,")[2] or text).split()), validate=True)
    except ValueError:
        raise ValueError("not valid base64") from None


def _refuse_compressed() -> None:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        abort(415, "the body is compressed, which does little for pictures; send it as it is")


def _pictures_in_form() -> list[Upload]:
    files = [Upload(file.filename or "", file.read) for _, file in request.files.items(multi=True)]
    if not files:
        fields = ", ".join(filter(None, request.form))[:_SHOWN_CHARACTERS] or "none"
        abort(400, f"the form has no file, only these fields without a file name: {fields}; send the picture as a file")
    return files


def _picture_in_json() -> bytes:
    body = parse_json(read_body(), _JSON_FORM)
    text = body.get("image") if isinstance(body, dict) else None
    if not isinstance(text, str):
        abort(400, f"expected {_JSON_FORM}")
    try:
        return decode_base64(text)
    except ValueError as error:
        abort(400, f'"image" is {error}')
