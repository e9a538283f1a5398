"""Whether a service that listens on a Unix socket says at /readyz that it answers rightly."""

from __future__ import annotations

import socket
from contextlib import suppress


def is_ready(path: str, seconds: float) -> bool:
    """Whether the service at the socket `path` answers /readyz with 200.

    :param seconds: how long it may take. A service that still starts answers when it is at work.
    """
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return connection.recv(64).split()[1:2] == [b"200"]
    return False
