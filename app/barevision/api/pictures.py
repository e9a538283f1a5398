"""The encoded picture of a request, in whichever way it was sent."""

from __future__ import annotations

import base64
import binascii
import json

from flask import abort, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

# {"image": "<base64>"} has two of them with a data URL. Each one more may be a value to make, or a level to descend.
_MAX_JSON_MARKS = 100


def read_picture() -> bytes:
    """The encoded picture: the first file of a form, the base64 in a JSON object, or else the body as it is."""
    if request.mimetype == "multipart/form-data":
        return _picture_in_form()
    if request.mimetype == "application/json":
        return _picture_in_json()
    return _body()


def _body() -> bytes:
    # Flask would keep a second reference to it until the answer is sent.
    data = request.get_data(cache=False)
    if len(data) > current_app.extensions["detector"].settings.max_bytes:
        raise RequestEntityTooLarge
    return data


def _picture_in_form() -> bytes:
    file = next(iter(request.files.values()), None)
    if file is None:
        fields = ", ".join(filter(None, request.form)) or "none"
        abort(400, f"the form has no file, only these fields without a file name: {fields}; send the picture as a file")
    return file.read()


def _picture_in_json() -> bytes:
    body = _json_body()
    text = body.get("image") if isinstance(body, dict) else None
    if not isinstance(text, str):
        abort(400, 'expected {"image": "<base64>"}')
    try:
        # Mail's and base64(1)'s base64 has line breaks.
        return base64.b64decode("".join((text.partition("base64,")[2] or text).split()), validate=True)
    except (binascii.Error, ValueError):
        abort(400, '"image" is not valid base64')


def _json_body() -> object:
    body = _body()
    if sum(body.count(mark) for mark in (b"{", b"[", b",")) > _MAX_JSON_MARKS:
        abort(400, f'the JSON has more than {_MAX_JSON_MARKS} values, expected {{"image": "<base64>"}}')
    try:
        return json.loads(body)
    except ValueError as error:
        abort(400, f'the body is no JSON ({error}), expected {{"image": "<base64>"}}')
