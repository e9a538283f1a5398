"""Whether a service that listens on a Unix socket says at /readyz that it answers rightly."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from http.client import HTTPException, HTTPResponse


def ask_readiness(path: str, seconds: float) -> tuple[int | None, str]:
    """The status that the service at the socket `path` answers /readyz with, and why, in words.

    None and "" if it doesn't answer.

    :param seconds: how long it may take. A service that still starts answers when it is at work.
    """
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError, HTTPException):
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with HTTPResponse(connection) as response:
            response.begin()
            return response.status, _detail(response.read())
    return None, ""


def is_ready(path: str, seconds: float) -> bool:
    """Whether the service at the socket `path` answers /readyz with 200, within so many seconds."""
    return ask_readiness(path, seconds)[0] == 200


def _detail(body: bytes) -> str:
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["detail"])
    return ""
