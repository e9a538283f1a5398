"""Who may ask: whoever sends one of the keys whose hashes are in a file. `playbooks/keys.yml` writes it.

A key is random and long, so a fast hash of it tells nothing, and no salt is needed.
"""

from __future__ import annotations

import hmac
import logging
import re
import threading
from collections.abc import Iterable
from pathlib import Path

from flask import Flask, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from barevision.api.record import current_record
from barevision.key_file import digest, read_key_file

_log = logging.getLogger(__name__)
_HEADER = "X-API-Key"
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
#: The field in which DeepStack's clients send it.
FIELD = "api_key"
# Health for balancers, the page and the documents for people; NGINX says who reads the metrics.
_OPEN_TO_ALL = {"page", "documents"}
_OPEN_VIEWS = {
    *("status.healthz", "status.readyz", "status.metrics"),
    *("open_inference.live", "open_inference.ready", "deepstack.ping"),
}
# Their key may be in the body, which is read in the request's turn.
_WITH_FIELD = {"deepstack.detect", "deepstack.custom"}


class Keys:
    """The keys in a file, which is read again when it has changed.

    Where it can't be read, nobody is let in.

    :param path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._seen: tuple[int, ...] = ()
        self._names: dict[bytes, str] = {}

    def name_of(self, key: str) -> str | None:
        """The name of the key `key`; None if it is none."""
        given, found = digest(key), None
        # All of them, so that the time says nothing.
        for known, name in self._current().items():
            if hmac.compare_digest(known, given):
                found = name
        return found

    def _current(self) -> dict[bytes, str]:
        with self._lock:
            try:
                status = self._path.stat()
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen != self._seen:
                    self._names, self._seen = read_key_file(self._path).names, seen
            except (OSError, ValueError):
                if self._names or not self._seen:
                    _log.exception("%s can't be read, so nobody is let in", self._path)
                self._names, self._seen = {}, (0,)
            return self._names


def register_keys(app: Flask, path: Path | None) -> None:
    """Has `app` answer 401 to who has none of the keys in the file at `path`; to nobody without one."""
    if path is None:
        return
    keys = Keys(path)

    def require() -> None:
        if request.method == "OPTIONS" or request.endpoint is None or _is_open(request.endpoint):
            return
        given = _in_header()
        if given is None and request.endpoint in _WITH_FIELD:
            g.keys = keys
            return
        _let_in(keys, given)

    app.before_request(require)


def require_key_in(fields: Iterable[tuple[str, object]]) -> None:
    """Looks for the key among a body's `fields`, where the request's headers had none and one is needed.

    :raises Unauthorized: there is none, or it is no key.
    """
    if keys := g.get("keys"):
        _let_in(keys, next((str(value) for name, value in fields if name == FIELD), None))


def _is_open(endpoint: str) -> bool:
    return endpoint in _OPEN_VIEWS or endpoint.partition(".")[0] in _OPEN_TO_ALL


def _in_header() -> str | None:
    if key := request.headers.get(_HEADER):
        return key
    bearer = _BEARER.fullmatch(request.headers.get("Authorization", "").strip())
    return bearer and bearer[1]


def _let_in(keys: Keys, given: str | None) -> None:
    name = keys.name_of(given) if given else None
    if name is None:
        words = "this key is not known, or not any more" if given else f"a key is needed: send it as {_HEADER}"
        raise Unauthorized(words, www_authenticate=WWWAuthenticate("bearer"))
    current_record().key = name
