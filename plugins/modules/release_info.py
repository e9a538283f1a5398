#!/usr/bin/python
"""What of a deployment is on the machine, and what of it nothing needs any more."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release_info
short_description: Reads what of a deployment is on the machine
description:
  - Tells which release is the current one, whether the environment and the model of the release to deploy are complete,
    and whether that release was tried with its settings.
  - Tells which releases, environments and models can be removed. Changes nothing.
options:
  root:
    description:
      - The folder with C(releases/COMMIT), C(envs/NAME) and the link C(current).
      - A release has a link C(env) to its environment, and its record of the last trial in C(.proven).
    type: path
    required: true
  commit:
    description: The commit to deploy, in full.
    type: str
    required: true
  python:
    description: The interpreter that environments are made of.
    type: path
    required: true
  settings:
    description: The service's settings by name, as the release is tried with.
    type: dict
    required: true
  model:
    description: The path of a model on the machine. Empty for a model that has a name or an address.
    type: str
    default: ""
  model_folder:
    description: The folder that the files of a model copied to the machine are in.
    type: str
    default: ""
  model_files:
    description: The SHA-256 by name of the files that a model copied to the machine consists of.
    type: dict
    default: {}
  copied_models_dir:
    description: The folder with the models that were copied to the machine, each in a folder named by its content.
    type: path
    required: true
  models_dir:
    description: The folder in which the service keeps what it prepared of models.
    type: path
    required: true
  keep:
    description: How many releases stay. Those that are current, about to be or in use by a process stay in any case.
    type: int
    required: true
attributes:
  check_mode:
    support: full
author:
  - The Barevision contributors
"""

EXAMPLES = r"""
- name: Read the state of the deployment
  release_info:
    root: /opt/barevision
    commit: 9a93efd0a2b2ce7a3c3b8a4f4b9c43a1ad0a3e55
    python: /usr/bin/python3
    settings: {BAREVISION_MODEL: roadsigns}
    copied_models_dir: /var/lib/barevision/own
    models_dir: /var/lib/barevision/models
    keep: 5
  register: __app_state
"""

RETURN = r"""
current:
  description: The commit of the current release. Empty where there is none.
  type: str
  returned: always
is_checked_out:
  description: Whether the release is on the machine with all of its files.
  type: bool
  returned: always
environment:
  description:
    - The path of the environment that the release needs. Its name is a hash of the release's lock file and the Python.
    - Empty while the release is not on the machine or the Python does not run.
  type: str
  returned: always
  sample: /opt/barevision/envs/1f0c2f3c9f0a4d61
environment_is_complete:
  description: Whether that environment is there with everything in it.
  type: bool
  returned: always
model_is_complete:
  description: Whether all of O(model_files) are there with their content.
  type: bool
  returned: always
trial:
  description: What the release has to be tried with. The settings, the environment, and the files of O(model).
  type: dict
  returned: always
is_proven:
  description: Whether the release was tried with exactly that, and what was prepared of the model then is still there.
  type: bool
  returned: always
is_current:
  description: Whether the release is the current one, and names its environment.
  type: bool
  returned: always
removable:
  description:
    - The paths that can be removed, a marker before what it marks. Releases beyond the O(keep) newest, or never proven;
      environments that no other release names; copied models other than O(model), and what was prepared of them for no
      release.
  type: list
  elements: str
  returned: always
"""

_ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "commit": {"type": "str", "required": True},
    "python": {"type": "path", "required": True},
    "settings": {"type": "dict", "required": True},
    "model": {"type": "str", "default": ""},
    "model_folder": {"type": "str", "default": ""},
    "model_files": {"type": "dict", "default": {}},
    "copied_models_dir": {"type": "path", "required": True},
    "models_dir": {"type": "path", "required": True},
    "keep": {"type": "int", "required": True},
}


def read_state(params: dict[str, Any]) -> dict[str, Any]:
    """What RETURN describes, for the parameters that DOCUMENTATION describes."""
    root = Path(params["root"])
    current = root / "current"
    release = root / "releases" / params["commit"]
    environment = environment_path(root / "envs", release / "app" / "requirements.txt", params["python"])
    copied_models, model = Path(params["copied_models_dir"]), Path(params["model"])
    # A copied model is named by its content, so the settings that name it tell its files already.
    is_on_machine = params["model"] != "" and not model.is_relative_to(copied_models)
    trial = {
        "settings": params["settings"],
        "environment": str(environment or ""),
        "model_files": list_files(model) if is_on_machine else [],
    }
    return {
        "current": current.resolve().name if current.is_symlink() else "",
        "is_checked_out": (release / ".complete").is_file(),
        "environment": trial["environment"],
        "environment_is_complete": environment is not None and (environment / ".complete").is_file(),
        "model_is_complete": have_content(Path(params["model_folder"]), params["model_files"]),
        "trial": trial,
        "is_proven": is_proven(release, trial),
        "is_current": current.is_symlink()
        and current.resolve() == release.resolve()
        and environment is not None
        and (release / "env").resolve() == environment.resolve(),
        "removable": [
            *removable_releases(root, params["commit"], params["keep"]),
            *removable_models(root, Path(params["models_dir"]), copied_models, model),
        ],
    }


def environment_path(environments: Path, lock: Path, python: str) -> Path | None:
    """The path of the environment for that lock file and interpreter; None while one of them is missing."""
    try:
        version = subprocess.run([python, "--version"], capture_output=True, check=True).stdout
        content = lock.read_bytes()
    except (OSError, subprocess.CalledProcessError):
        return None
    return environments / hashlib.sha256(b"\0".join([content, python.encode(), version])).hexdigest()[:16]


def list_files(model: Path) -> list[dict[str, Any]]:
    """Name, size in bytes and time of change in seconds of each file of the model at that path, sorted by name."""
    files = []
    for path in sorted(model.iterdir()) if model.is_dir() else [model]:
        # A link may lead nowhere, and a file may go meanwhile.
        with suppress(OSError):
            status = path.stat()
            files.append({"name": path.name, "size": status.st_size, "changed": int(status.st_mtime)})
    return files


def have_content(folder: Path, files: dict[str, str]) -> bool:
    """Whether every file, by its name, is in `folder` with its SHA-256."""
    try:
        return all(file_sha256(folder / name) == digest for name, digest in files.items())
    except OSError:
        return False


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal, for files that are larger than the machine's memory too."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_proof(release: Path) -> dict[str, Any]:
    """What `release` was tried with last, and under `prepared` the model's path then; empty for one never tried."""
    try:
        proof = json.loads((release / ".proven").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return proof if isinstance(proof, dict) and isinstance(proof.get("prepared"), str) else {}


def is_proven(release: Path, trial: dict[str, Any]) -> bool:
    """Whether `release` was tried with exactly that, and the model prepared then is still there."""
    proof = read_proof(release)
    prepared = proof.pop("prepared", "")
    return proof == trial and Path(prepared).is_file()


def names_in_use(releases: Path, environments: Path) -> set[str]:
    """The names of the releases and environments that a process works in or has loaded files from.

    Until the service is restarted, these are what it was started with.
    """
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            places = {str((process / "cwd").readlink()), *(process / "maps").read_text(errors="replace").split()}
        except OSError:
            continue
        for folder in (releases, environments):
            names |= {place[len(f"{folder}/") :].split("/")[0] for place in places if place.startswith(f"{folder}/")}
    return names


def removable_releases(root: Path, commit: str, keep: int) -> list[str]:
    """The releases beyond the newest `keep` or never proven, and the environments that no other release names."""
    releases, environments = root / "releases", root / "envs"
    if not releases.is_dir():
        return []
    by_age = sorted(releases.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
    in_use = names_in_use(releases, environments)
    needed = {(root / "current").resolve().name, commit} | in_use
    kept = [path for path in by_age if path.name in needed]
    others = [path for path in by_age if path.name not in needed and (path / ".proven").is_file()]
    kept += others[: max(0, keep - len(kept))]
    named = {os.path.realpath(path / "env") for path in kept}
    unused = [path for path in environments.iterdir() if path.name not in in_use] if environments.is_dir() else []
    unnamed = [path for path in unused if os.path.realpath(path) not in named]
    removable = [path for path in by_age if path not in kept] + unnamed
    # The marker goes first, so that what is half removed never counts as complete.
    return [str(part) for path in removable for part in (path / ".complete", path) if os.path.lexists(part)]


def removable_models(root: Path, models: Path, copied_models: Path, model: Path) -> list[str]:
    """The copied models other than `model`, and what was prepared of them for no release."""
    if not copied_models.is_dir():
        return []
    copied = [path for path in copied_models.iterdir() if path.is_dir() and not model.is_relative_to(path)]
    names = {path.stem if path.suffix == ".onnx" else path.name for folder in copied for path in folder.iterdir()}
    needed = {read_proof(release).get("prepared") for release in root.glob("releases/*")}
    prepared = [path for name in names for path in (models / name).glob(f"{name}-*.onnx") if str(path) not in needed]
    leftovers = [path for onnx in prepared for path in onnx.parent.glob(f"{onnx.stem}.*")]
    return sorted(map(str, copied + leftovers))


def main() -> None:
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    module.exit_json(changed=False, **read_state(module.params))


if __name__ == "__main__":
    main()
