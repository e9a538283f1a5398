"""Prints, as one line of JSON, what of a deployment is already on this machine. Changes nothing.

One look instead of a task for each question: a run that has nothing to do costs one round trip.

Argument: JSON with
- `root`, `models` (paths), `user`, `home`, `commit`, `python` (path of the interpreter environments are made of);
- `directories`: a list of {path, owner, group, mode};
- `settings`: {path, owner, group, mode, sha256} of the settings file as it should be;
- `model`: a catalogue name, an address, a folder or a file; `files`: SHA-256 by path of the model's files that were
  copied here; `trial`: what a release is tried with, as a text;
- `keep`: how many releases stay.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path


def sha256(*parts: bytes) -> str:
    """The SHA-256 of `parts`, told apart, in hexadecimal."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def account_is_right(user: str, home: str) -> bool:
    """Whether the system account is there as it should be: its own group, its home, no shell."""
    try:
        entry = pwd.getpwnam(user)
        return (grp.getgrgid(entry.pw_gid).gr_name, entry.pw_dir, entry.pw_shell) == (user, home, "/usr/sbin/nologin")
    except KeyError:
        return False


def is_right(wanted: dict) -> bool:
    """Whether `path` exists with that owner, group and mode, and with that `sha256` if one is given."""
    path = Path(wanted["path"])
    try:
        status = path.stat()
        owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
        content = hashlib.sha256(path.read_bytes()).hexdigest() if "sha256" in wanted else None
    except (OSError, KeyError):
        return False
    found = (owner, group, f"{status.st_mode & 0o7777:04o}", content)
    return found == (wanted["owner"], wanted["group"], wanted["mode"], wanted.get("sha256"))


def has_commit(repository: Path, commit: str) -> bool:
    """Whether the bare `repository` has `commit`."""
    if not repository.is_dir() or not shutil.which("git"):
        return False
    command = ["git", "--git-dir", str(repository), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def environment_name(lock: Path, python: str) -> str | None:
    """The name of the environment for that lock file and interpreter; None while one of them is not there."""
    try:
        found = subprocess.run([python, "--version"], capture_output=True, check=True)
        return sha256(lock.read_bytes(), python.encode(), found.stdout)[:16]
    except (OSError, subprocess.CalledProcessError):
        return None


def model_signature(model: str) -> str:
    """Changes whenever a file of the model at the path `model` does. A catalogue's model never changes."""
    place = Path(re.sub(r"@\d+(x\d+)?$", "", model))
    if not place.is_absolute() or not place.exists():
        return model
    paths = place.iterdir() if place.is_dir() else [place]
    files = sorted((path.name, *path.stat()[6:9:2]) for path in paths)
    return sha256(json.dumps(files).encode(), model.encode())


def has_files(files: dict) -> bool:
    """Whether every path is there with its SHA-256."""
    try:
        return all(hashlib.sha256(Path(path).read_bytes()).hexdigest() == found for path, found in files.items())
    except OSError:
        return False


def proof(release: Path) -> dict:
    """What `release` was tried with last (`trial`) and the model prepared for it (`path`); empty if it wasn't tried."""
    try:
        found = json.loads((release / ".proven").read_text())
        return {"trial": found["trial"], "path": Path(found["path"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def is_proven(release: Path, trial: str) -> bool:
    """Whether `release` was tried with exactly that, and the model prepared then is still there."""
    found = proof(release)
    return bool(found) and found["trial"] == trial and found["path"].is_file()


def in_use(releases: Path, envs: Path) -> set[str]:
    """The names of what a process works in or has loaded from: the running service's, until it is restarted."""
    used = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            places = {str((process / "cwd").readlink()), *(process / "maps").read_text(errors="replace").split()}
        except OSError:
            continue
        for folder in (releases, envs):
            used |= {place[len(f"{folder}/") :].split("/")[0] for place in places if place.startswith(f"{folder}/")}
    return used


def stale(root: Path, current: str | None, commit: str, keep: int) -> list[str]:
    """What can go: releases beyond the newest `keep` or never proven, and environments that no other release names."""
    releases, envs = root / "releases", root / "envs"
    if not releases.is_dir():
        return []
    by_age = sorted(releases.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
    used = in_use(releases, envs)
    needed = {current, commit} | used
    kept = [path for path in by_age if path.name in needed]
    others = [path for path in by_age if path.name not in needed and (path / ".proven").is_file()]
    kept += others[: max(0, keep - len(kept))]
    named = {os.path.realpath(path / "env") for path in kept}
    environments = [path for path in envs.iterdir() if path.name not in used] if envs.is_dir() else []
    unnamed = [path for path in environments if os.path.realpath(path) not in named]
    return [str(path) for path in by_age if path not in kept] + [str(path) for path in unnamed]


def stale_models(root: Path, models: Path, own: Path, model: str) -> list[str]:
    """What can go: models in `own`, copied here for earlier settings, and what was prepared of them for no release."""
    if not own.is_dir():
        return []
    copied = [path for path in own.iterdir() if not Path(model).is_relative_to(path)]
    names = {path.stem if path.suffix == ".onnx" else path.name for folder in copied for path in folder.iterdir()}
    needed = {proof(release).get("path") for release in root.glob("releases/*")}
    prepared = [path for name in names for path in (models / name).glob(f"{name}-*.onnx") if path not in needed]
    leftovers = [path for onnx in prepared for path in onnx.parent.glob(f"{onnx.stem}.*")]
    return sorted(map(str, copied + leftovers))


def look(wanted: dict) -> dict:
    """What is there of what is `wanted`."""
    root = Path(wanted["root"])
    release = root / "releases" / wanted["commit"]
    environment = environment_name(release / "app" / "requirements.txt", wanted["python"])
    place = root / "envs" / (environment or "-")
    trial = sha256(wanted["trial"].encode(), str(place).encode(), model_signature(wanted["model"]).encode())
    current = (root / "current").resolve().name if (root / "current").is_symlink() else None
    models = Path(wanted["models"])
    return {
        "account": account_is_right(wanted["user"], wanted["home"]),
        "directories": [entry["path"] for entry in wanted["directories"] if not is_right(entry)],
        "commit": has_commit(root / "repo.git", wanted["commit"]),
        "release": release.is_dir(),
        "environment": environment,
        "environment_is_complete": (place / ".complete").is_file(),
        "environment_is_named": os.path.realpath(release / "env") == str(place),
        "trial": trial,
        "proven": is_proven(release, trial),
        "settings": is_right(wanted["settings"]),
        "current": current,
        "model": has_files(wanted["files"]),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "models_free": shutil.disk_usage(models).free if models.is_dir() else None,
        "stale": stale(root, current, wanted["commit"], wanted["keep"])
        + stale_models(root, models, Path(wanted["home"]) / "own", wanted["model"]),
    }


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
