"""Downloads against a server that does everything that was ever seen to go wrong."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from barevision.errors import ModelError
from barevision.models.download import download
from barevision.models.source import ModelFile
from tests.support.serving import running

CONTENT = bytes(range(256)) * 4096
HTML = b"<!DOCTYPE html><html><body>This page has moved.</body></html>"


class Mirror(http.server.BaseHTTPRequestHandler):
    """The path says how the mirror behaves; `server.seen` records (path, Range header)."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        requested = self.headers.get("Range")
        self.server.seen.append((self.path, requested))
        getattr(self, f"answer_{self.path.strip('/').replace('-', '_')}")(requested)

    def answer_good(self, requested: str | None) -> None:
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        if start >= len(CONTENT):
            self.send(b"", 416)
            return
        self.send(CONTENT[start:], 206 if requested else 200)

    def answer_no_ranges(self, requested: str | None) -> None:
        self.send(CONTENT)

    def answer_missing(self, requested: str | None) -> None:
        self.send(b"no such file", 404)

    def answer_html(self, requested: str | None) -> None:
        self.send(HTML, kind="text/html")

    def answer_other(self, requested: str | None) -> None:
        self.send(CONTENT[::-1])

    def answer_too_long(self, requested: str | None) -> None:
        self.send(CONTENT + b"more")

    def answer_redirect(self, requested: str | None) -> None:
        """To what is no address; requests and urllib3 raise no exception of their own for it."""
        self.send_response(302)
        self.send_header("Location", "http://.example/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_length_abc(self, requested: str | None) -> None:
        self.send(CONTENT, length="abc")

    def answer_length_empty(self, requested: str | None) -> None:
        self.send(CONTENT, length="")

    def answer_length_twice(self, requested: str | None) -> None:
        self.send(CONTENT, length=f"{len(CONTENT)}, {len(CONTENT)}")

    def answer_announced(self, requested: str | None) -> None:
        self.send(CONTENT, length=10**12)

    def answer_endless(self, requested: str | None) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(CONTENT)
        self.close_connection = True

    def answer_cut(self, requested: str | None) -> None:
        """Announces everything, sends a half, hangs up."""
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        self.send(CONTENT[start : (start + len(CONTENT)) // 2], 206 if requested else 200, len(CONTENT) - start)
        self.close_connection = True

    def send(
        self, body: bytes, status: int = 200, length: int | str | None = None, kind: str = "application/x"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def mirror() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.seen = []
    server.handle_error = lambda *_: None
    with running(server):
        yield server


def model_file(server: http.server.ThreadingHTTPServer, *paths: str) -> ModelFile:
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{path}" for path in paths)
    return ModelFile("net.weights", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), urls)


def test_a_file_is_fetched_once_and_progress_is_told(mirror, tmp_path: Path) -> None:
    told = []
    path = download(model_file(mirror, "good"), tmp_path / "m", lambda *progress: told.append(progress))
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("net.weights", len(CONTENT), len(CONTENT))
    assert [there for _, there, _ in told] == sorted(there for _, there, _ in told)
    download(model_file(mirror, "good"), tmp_path / "m")
    assert len(mirror.seen) == 1
    assert not (tmp_path / "m" / "net.weights.part").exists()


@pytest.mark.parametrize(
    "bad",
    [
        "missing",
        "html",
        "other",
        "too-long",
        "endless",
        "cut",
        "redirect",
        "length-abc",
        "length-empty",
        "length-twice",
    ],
)
def test_the_next_mirror_makes_up_for_a_bad_one(mirror, tmp_path: Path, bad: str) -> None:
    assert download(model_file(mirror, bad, "good"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("missing", "404 Client Error"),
        ("html", r"answers 61 bytes \(text/html\), expected 1048576"),
        ("other", "the content is wrong: sha256 [0-9a-f]{64}, expected"),
        ("too-long", "answers 1048580 bytes"),
        ("length-abc", "answers abc bytes"),
        ("endless", "the content is wrong"),
        ("cut", "524288 bytes read"),
    ],
)
def test_without_a_good_mirror_the_error_says_what_each_did(mirror, tmp_path: Path, bad: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        download(model_file(mirror, bad, "missing"), tmp_path)
    assert "/missing: 404" in str(raised.value)
    assert f"put it at {tmp_path / 'net.weights'}" in str(raised.value)
    assert not (tmp_path / "net.weights").exists()


def test_a_cut_connection_is_resumed_where_it_ended(mirror, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        download(model_file(mirror, "cut"), tmp_path)
    half = (tmp_path / "net.weights.part").stat().st_size
    assert 0 < half < len(CONTENT)
    assert download(model_file(mirror, "good"), tmp_path).read_bytes() == CONTENT
    assert mirror.seen[-1] == ("/good", f"bytes={half}-")


def test_a_server_without_ranges_starts_anew(mirror, tmp_path: Path) -> None:
    (tmp_path / "net.weights.part").write_bytes(CONTENT[:1000])
    assert download(model_file(mirror, "no-ranges"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [1000, len(CONTENT), len(CONTENT) + 1000])
@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_wrong_beginning_is_thrown_away_and_the_same_mirror_is_asked_for_all(
    mirror, tmp_path: Path, length: int, size: int | None
) -> None:
    (tmp_path / "net.weights.part").write_bytes(b"\0" * length)
    assert download(replace(model_file(mirror, "good"), size=size), tmp_path).read_bytes() == CONTENT
    # What is as long as the file is known not to be its beginning.
    resumes = size is None or length < size
    assert mirror.seen == [*([("/good", f"bytes={length}-")] if resumes else []), ("/good", None)]


def test_a_mirror_without_ranges_is_asked_once_for_what_it_has_wrong(mirror, tmp_path: Path) -> None:
    (tmp_path / "net.weights.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ModelError, match="the content is wrong"):
        download(model_file(mirror, "other"), tmp_path)
    assert mirror.seen == [("/other", "bytes=1000-")]


def test_a_bad_file_in_place_is_replaced_and_a_good_one_survives_bad_mirrors(mirror, tmp_path: Path) -> None:
    (tmp_path / "net.weights").write_bytes(HTML)
    download(model_file(mirror, "good"), tmp_path)
    assert download(model_file(mirror, "html"), tmp_path).read_bytes() == CONTENT


def unknown_size(server: http.server.ThreadingHTTPServer, *paths: str) -> ModelFile:
    return replace(model_file(server, *paths), size=None)


@pytest.mark.parametrize("path", ["good", "length-empty", "length-twice", "length-abc"])
def test_of_a_file_only_the_hash_may_be_known(
    mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    # Without a length, what comes after it is waited for.
    monkeypatch.setattr("barevision.models.download._TIMEOUT", (10, 1))
    told = []
    assert (
        download(unknown_size(mirror, path, "good"), tmp_path, lambda *step: told.append(step)).read_bytes() == CONTENT
    )
    assert told[-1][1:] in ((len(CONTENT), len(CONTENT)), (len(CONTENT), None))
    assert download(unknown_size(mirror, "missing"), tmp_path).read_bytes() == CONTENT


def test_of_unknown_size_a_cut_connection_is_resumed_too(mirror, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        download(unknown_size(mirror, "cut"), tmp_path)
    assert 0 < (tmp_path / "net.weights.part").stat().st_size < len(CONTENT)
    assert download(unknown_size(mirror, "good"), tmp_path).read_bytes() == CONTENT
    assert mirror.seen[-1][1].startswith("bytes=")


@pytest.mark.parametrize("path", ["endless", "announced"])
def test_of_unknown_size_no_more_than_the_largest_is_fetched(
    mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("barevision.models.download._LARGEST", 2 * len(CONTENT))
    with pytest.raises(ModelError, match=r"the content is wrong|allowed are 2097152"):
        download(unknown_size(mirror, path), tmp_path)
    assert not list(tmp_path.glob("net.weights*"))


def test_a_file_that_nobody_vouches_for_is_not_fetched(mirror, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"its sha256 is not known.*pull m --sha256"):
        download(replace(model_file(mirror, "good"), sha256=None), tmp_path / "m")
    assert mirror.seen == []


def test_without_room_nothing_is_fetched(mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match="has 0 MiB free, 1 MiB are still to come; make room"):
        download(model_file(mirror, "good"), tmp_path)
    assert not list(tmp_path.glob("net.weights*"))


def test_two_processes_fetch_it_once(mirror, tmp_path: Path) -> None:
    file = model_file(mirror, "good")
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        paths = list(pool.map(download, [file] * 3, [tmp_path] * 3))
    assert [path.read_bytes() == CONTENT for path in paths] == [True] * 3
    assert len(mirror.seen) == 1


def test_two_at_once_fetch_it_once(mirror, tmp_path: Path) -> None:
    threads = [threading.Thread(target=download, args=(model_file(mirror, "good"), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mirror.seen) == 1
