"""Downloads that end with the right file or with none."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from barevision.models.catalogue import ModelFile, file_sha256
from barevision.models.errors import ModelError

_CHUNK = 1 << 18
#: Seconds to connect, and between two chunks.
_TIMEOUT = (10, 60)

#: Called with (file name, bytes there, bytes in all) as a download proceeds.
Progress = Callable[[str, int, int], None]


def download(file: ModelFile, folder: Path, progress: Progress | None = None) -> Path:
    """`file` in `folder`, fetched from its first mirror that has the right content.

    Fetched beside (``.part``, which a later call resumes), verified, then renamed. Another process that fetches the
    same file meanwhile is waited for.

    :raises ModelError: no mirror gave the file; the message says what each one did.
    """
    target = folder / file.name
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{file.name}.part"
    with _locked(folder / f".{file.name}.lock"):
        if _is_right(target, file):
            return target
        failures = []
        for url in file.urls:
            try:
                _fetch(url, file, part, progress)
                part.replace(target)
                return target
            except (ModelError, requests.RequestException, ValueError) as error:
                # ValueError: what requests and urllib3 let through of a Location that is no address.
                failures.append(f"  {url}: {error}")
    raise ModelError(
        f"{file.name} ({file.size} bytes) could not be fetched:\n"
        + "\n".join(failures)
        + f"\nIf you have the file, put it at {target}: it is taken if its sha256 is {file.sha256}."
    )


def _is_right(path: Path, file: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and file_sha256(path) == file.sha256


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(url: str, file: ModelFile, part: Path, progress: Progress | None) -> None:
    """Fetches what `part` lacks; leaves a right `part`, a shorter one worth resuming, or none."""
    start = part.stat().st_size if part.exists() else 0
    if start < file.size:
        _append(url, file, part, start, progress)
    if part.stat().st_size != file.size or file_sha256(part) != file.sha256:
        found = file_sha256(part)
        part.unlink()
        raise ModelError(f"the content is wrong: sha256 {found}, expected {file.sha256}")


def _append(url: str, file: ModelFile, part: Path, start: int, progress: Progress | None) -> None:
    headers = {"Range": f"bytes={start}-"} if start else {}
    # Without identity a proxy may compress, and Content-Length would be another length.
    headers["Accept-Encoding"] = "identity"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            start = 0
        _check_length(response, file, start)
        with part.open("r+b" if start else "wb") as out:
            out.seek(start)
            for chunk in response.iter_content(_CHUNK):
                out.write(chunk)
                start += len(chunk)
                if start > file.size:
                    break
                if progress:
                    progress(file.name, start, file.size)
    if start < file.size:
        raise ModelError(f"the connection ended after {start} of {file.size} bytes")


def _check_length(response: requests.Response, file: ModelFile, start: int) -> None:
    announced = response.headers.get("Content-Length", str(file.size - start))
    if announced != str(file.size - start):
        kind = response.headers.get("Content-Type", "no content type")
        raise ModelError(f"answers {announced[:40]} bytes ({kind}), expected {file.size - start}")
