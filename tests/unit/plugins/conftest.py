"""The modules' own code, as Ansible gives it to them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import ansible.module_utils
import pytest

from tests.conftest import ROOT

ansible.module_utils.__path__.append(str(ROOT / "plugins" / "module_utils"))


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A service at `socket` that answers `line` and `body` to each request, unless they are empty.

    `asked` counts the requests.
    """
    service = SimpleNamespace(socket=tmp_path / "socket", line=b"HTTP/1.1 200 OK", body=b"", asked=0)

    def serve(listener: socket.socket) -> None:
        # Closing the listener ends this.
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                assert connection.recv(1024).startswith(b"GET /readyz HTTP/1.0\r\n")
                service.asked += 1
                held.append(connection)
                if service.line:
                    connection.sendall(service.line + b"\r\n\r\n" + service.body)
                    connection.shutdown(socket.SHUT_RDWR)

    held: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(service.socket))
        listener.listen()
        thread = Thread(target=serve, args=(listener,))
        thread.start()
        yield service
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()
