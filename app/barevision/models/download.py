"""Downloads that end with the right file or with none."""

from __future__ import annotations

import shutil
from pathlib import Path

import requests
from filelock import FileLock, Timeout

from barevision.errors import ModelError
from barevision.models.files import put_in_place
from barevision.models.source import ModelFile, Progress, file_sha256

_CHUNK = 1 << 18
# The most that is fetched where nobody says how large the file is.
_LARGEST = 2**30
# Seconds to connect, and between two chunks.
_TIMEOUT = (10, 60)


def download(file: ModelFile, folder: Path, progress: Progress | None = None) -> Path:
    """`file` in `folder`, fetched from its first mirror that has the right content.

    The file is fetched beside (``.part``, which a later call resumes), verified, then renamed: what is there stays
    until then. Another process that fetches the same file meanwhile is waited for.

    :raises ModelError: nobody knows its sha256, there is no room for it, or no mirror gave it; the message says what
        each one did.
    """
    if not file.sha256:
        raise ModelError(
            f"nobody vouches for {file.name}: its sha256 is not known. Get it from whom you trust, and run "
            f"'barevision models pull {folder.name} --sha256 ...', or ask for the model as {folder.name}#sha256=..."
        )
    target = folder / file.name
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{file.name}.part"
    with FileLock(folder / f".{file.name}.lock"):
        if _is_right(target, file):
            return target
        failures = []
        for url in file.urls:
            try:
                _fetch(url, file, part, progress)
                put_in_place(part, target)
                return target
            except (ModelError, requests.RequestException, ValueError) as error:
                # requests and urllib3 let a ValueError through for a Location that can't be an address.
                failures.append(f"  {url}: {error}")
    size = f" ({file.size} bytes)" if file.size else ""
    raise ModelError(
        f"{file.name}{size} could not be fetched:\n"
        + "\n".join(failures)
        + f"\nIf you have the file, put it at {target}: it is taken if its sha256 is {file.sha256}."
    )


def is_fetched_into(folder: Path) -> bool:
    """Whether a process is at work on a download into `folder` now."""
    for path in folder.glob(".*.lock"):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            return True
    return False


def _is_right(path: Path, file: ModelFile) -> bool:
    if not path.is_file() or file.size not in (None, path.stat().st_size):
        return False
    return file_sha256(path) == file.sha256


def _fetch(url: str, file: ModelFile, part: Path, progress: Progress | None) -> None:
    """Fetches what `part` lacks; leaves a right `part`, a shorter one worth resuming, or none."""
    if _is_right(part, file):
        return
    there = part.stat().st_size if part.exists() else 0
    can_resume = there > 0 and (file.size is None or there < file.size)
    for start in (there, 0) if can_resume else (0,):
        was_resumed = _append(url, file, part, start, progress)
        if _is_right(part, file):
            return
        # What was there before may be another file's beginning: only a file that was fetched whole is the server's.
        if not was_resumed:
            break
    sha256 = file_sha256(part)
    part.unlink()
    raise ModelError(f"the content is wrong: sha256 {sha256}, expected {file.sha256}")


def _append(url: str, file: ModelFile, part: Path, start: int, progress: Progress | None) -> bool:
    """Fetches the file from the byte `start` on, or all of it; tells whether what was there before is its beginning."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    # A proxy might compress otherwise, and Content-Length would be another length.
    headers["Accept-Encoding"] = "identity"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            # What is there is as long as the whole file or longer, and is not it.
            return True
        response.raise_for_status()
        was_resumed = start > 0 and response.status_code == requests.codes.partial_content
        if not was_resumed:
            start = 0
        size = _whole_size(response, file, start)
        free, missing = shutil.disk_usage(part.parent).free, (size or 0) - start
        if missing > free:
            raise ModelError(
                f"{part.parent} has {free / 2**20:.0f} MiB free, {missing / 2**20:.0f} MiB are still to come; "
                "make room, or put the models elsewhere (BAREVISION_MODELS_DIR)"
            )
        with part.open("r+b" if start else "wb") as out:
            out.seek(start)
            for chunk in response.iter_content(_CHUNK):
                out.write(chunk)
                start += len(chunk)
                if start > (size or _LARGEST):
                    break
                if progress:
                    progress(file.name, start, size)
    if size and start < size:
        raise ModelError(f"the connection ended after {start} of {size} bytes")
    return was_resumed


def _whole_size(response: requests.Response, file: ModelFile, start: int) -> int | None:
    """How large the whole file will be, by what is known or else by what the server says; None if it doesn't.

    :raises ModelError: the server has another size, or one that is out of all proportion.
    """
    announced = response.headers.get("Content-Length")
    media_type = response.headers.get("Content-Type", "no content type")
    if file.size:
        if announced not in (None, str(file.size - start)):
            raise ModelError(f"answers {announced[:40]} bytes ({media_type}), expected {file.size - start}")
        return file.size
    if announced is None or not (announced.isascii() and announced.isdigit()):
        return None
    size = start + int(announced[:20])
    if size > _LARGEST:
        raise ModelError(f"answers {size} bytes ({media_type}), allowed are {_LARGEST}")
    return size
