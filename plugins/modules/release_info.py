#!/usr/bin/python
"""What of a deployment is on the machine, and what of it nothing needs any more."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.readiness import is_ready
from ansible.module_utils.seals import SEAL, file_sha256, find_damage, is_sealed

DOCUMENTATION = r"""
module: release_info
short_description: Reads what of a deployment is on the machine
description:
  - Tells which release is the current one, whether the environment and the model of the release to deploy are complete,
    and whether that release was tried with its settings.
  - Compares what is there with how it was when it was made. The release, and what was prepared of its model, are read
    whole each time. An environment is larger. While the service is ready with it, only those of its files are read
    whose time of change is another one; while the service is not ready, or is another release's, all of them.
  - Tells which releases, environments and models can be removed. Changes nothing.
options:
  root:
    description:
      - The folder with C(releases/COMMIT), C(envs/NAME) and the link C(current).
      - A release has a link C(env) to its environment, and its record of the last trial in C(.proven). In there is what
        was prepared of its model, by path, each with its SHA-256.
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
  socket:
    description: The socket that the service listens on, which is asked for /readyz.
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
    socket: /run/barevision/gunicorn.sock
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
      A damaged one stays for the service that runs from it, and the one that takes its place has a number after that.
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
  description: Whether the release was tried with exactly that, and what was prepared of the model is as it was then.
  type: bool
  returned: always
damage:
  description: What of release, environment and model is not as it was when it was made, a sentence each.
  type: list
  elements: str
  returned: always
  sample: [/opt/barevision/envs/1f0c2f3c9f0a4d61/bin/gunicorn can't be read: No such file or directory]
is_current:
  description: Whether the release is the current one, and names its environment.
  type: bool
  returned: always
releases_to_link:
  description: The paths of releases whose environment is a damaged one that RV(environment) is to take the place of.
  type: list
  elements: str
  returned: always
removable:
  description:
    - The paths that can be removed, a marker before what it marks. Releases beyond the O(keep) newest, never proven, or
      with the mark C(.failed); environments that no other release names; copied models other than O(model) that no
      release was proven with, and what was prepared of them for no release.
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
    "socket": {"type": "path", "required": True},
    "keep": {"type": "int", "required": True},
}

# A service that is at work answers at once: it keeps threads for that.
_READY_SECONDS = 5


def read_state(params: dict[str, Any]) -> dict[str, Any]:
    """What RETURN describes, for the parameters that DOCUMENTATION describes."""
    root = Path(params["root"])
    current = root / "current"
    release = root / "releases" / params["commit"]
    serves = current.is_symlink() and current.resolve() == release.resolve()
    environment, damaged = find_environment(
        root,
        release / "app" / "requirements.txt",
        params["python"],
        contents=not (serves and is_ready(params["socket"], _READY_SECONDS)),
    )
    broken = {path.resolve() for path in damaged}
    is_complete = environment is not None and is_sealed(environment)
    environment_damage = [] if is_complete else list(itertools.chain.from_iterable(damaged.values()))
    release_damage = find_damage(release, contents=True) if is_sealed(release) else []
    copied_models, model = Path(params["copied_models_dir"]), Path(os.path.expanduser(params["model"]))  # noqa: PTH111
    # A copied model is named by its content, so the settings that name it tell its files already.
    is_on_machine = params["model"] != "" and not model.is_relative_to(copied_models)
    trial = {
        "settings": params["settings"],
        "environment": str(environment or ""),
        "model_files": list_files(model) if is_on_machine else [],
    }
    proof = read_proof(release)
    prepared = proof.pop("prepared", {})
    model_damage = [f"{path} is not as it was prepared" for path in prepared if not has_content(path, prepared[path])]
    releases_to_remove = removable_releases(root, params["commit"], params["keep"])
    kept_releases = [path for path in root.glob("releases/*") if str(path) not in releases_to_remove]
    proofs = list(filter(None, map(read_proof, kept_releases)))
    return {
        "current": current.resolve().name if current.is_symlink() else "",
        "is_checked_out": is_sealed(release) and not release_damage,
        "environment": trial["environment"],
        "environment_is_complete": is_complete,
        "model_is_complete": all(
            has_content(Path(params["model_folder"], name), digest) for name, digest in params["model_files"].items()
        ),
        "trial": trial,
        "is_proven": proof == trial and not model_damage,
        "damage": release_damage + environment_damage + model_damage,
        "releases_to_link": [str(path) for path in root.glob("releases/*") if (path / "env").resolve() in broken],
        "is_current": serves and environment is not None and (release / "env").resolve() == environment.resolve(),
        "removable": [
            *releases_to_remove,
            *removable_models(proofs, Path(params["models_dir"]), copied_models, model),
        ],
    }


def find_environment(root: Path, lock: Path, python: str, contents: bool) -> tuple[Path | None, dict[Path, list[str]]]:
    """The path of the environment for that lock file and interpreter, and what is wrong with each damaged one.

    Where there is none, or only damaged ones, it is the path to make it at. None while lock file or interpreter are
    missing.

    :param contents: as `find_damage`.
    """
    try:
        version = subprocess.run([python, "--version"], capture_output=True, check=True).stdout
        content = lock.read_bytes()
    except (OSError, subprocess.CalledProcessError):
        return None, {}
    name = hashlib.sha256(b"\0".join([content, python.encode(), version])).hexdigest()[:16]
    served_from, damaged = Path(os.path.realpath(root / "current" / "env")), {}
    for path in sorted(root.glob(f"envs/{name}*")):
        if is_sealed(path) or path.resolve() == served_from:
            damaged[path] = find_damage(path, contents)
            if not damaged[path]:
                del damaged[path]
                return path, damaged
    numbered = (root / "envs" / f"{name}{'' if number == 1 else f'-{number}'}" for number in itertools.count(1))
    free = next(path for path in numbered if path not in damaged)
    return free, damaged


def list_files(model: Path) -> list[dict[str, Any]]:
    """Name, size in bytes and time of change in seconds of each file of the model at that path, sorted by name."""
    paths, files = [model], []
    # A model may be a file, and what somebody else keeps may go meanwhile.
    with suppress(OSError):
        paths = sorted(model.iterdir())
    for path in paths:
        # A link may lead nowhere.
        with suppress(OSError):
            status = path.stat()
            files.append({"name": path.name, "size": status.st_size, "changed": int(status.st_mtime)})
    return files


def has_content(path: str | Path, sha256: str) -> bool:
    """Whether the file is there with that content."""
    try:
        return file_sha256(Path(path)) == sha256
    except OSError:
        return False


def read_proof(release: Path) -> dict[str, Any]:
    """What `release` was tried with last, and under `prepared` the SHA-256 of each file that was prepared of the model.

    Empty for one never tried.
    """
    try:
        proof = json.loads((release / ".proven").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(proof, dict) and all(isinstance(proof.get(key), dict) for key in ("settings", "prepared"))
    return proof if is_whole else {}


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
    """The releases beyond the newest `keep`, never proven or failed, and the environments that no other one names."""
    releases, environments = root / "releases", root / "envs"
    if not releases.is_dir():
        return []
    by_age = sorted(releases.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
    in_use = names_in_use(releases, environments)
    needed = {(root / "current").resolve().name, commit} | in_use
    kept = [path for path in by_age if path.name in needed]
    good = [path for path in by_age if (path / ".proven").is_file() and not (path / ".failed").is_file()]
    others = [path for path in good if path.name not in needed]
    kept += others[: max(0, keep - len(kept))]
    named = {os.path.realpath(path / "env") for path in kept}
    unused = [path for path in environments.iterdir() if path.name not in in_use] if environments.is_dir() else []
    unnamed = [path for path in unused if os.path.realpath(path) not in named]
    removable = [path for path in by_age if path not in kept] + unnamed
    # The marker goes first, so that what is half removed never counts as complete.
    return [str(part) for path in removable for part in (path / SEAL, path) if os.path.lexists(part)]


def removable_models(proofs: list[dict[str, Any]], models: Path, copied_models: Path, model: Path) -> list[str]:
    """The copied models other than `model` that no release was proven with, and what was prepared of none's models.

    :param proofs: what `read_proof` returns for each release that stays.
    """
    if not copied_models.is_dir():
        return []
    needed_models = [model, *(Path(proof["settings"].get("BAREVISION_MODEL", "")) for proof in proofs)]
    folders = [path for path in copied_models.iterdir() if path.is_dir()]
    copied = [folder for folder in folders if not any(needed.is_relative_to(folder) for needed in needed_models)]
    names = {path.stem if path.suffix == ".onnx" else path.name for folder in copied for path in folder.iterdir()}
    needed = {path for proof in proofs for path in proof["prepared"]}
    prepared = [path for name in names for path in (models / name).glob(f"{glob.escape(name)}-*.onnx")]
    unneeded = [path for path in prepared if str(path) not in needed]
    leftovers = [path for onnx in unneeded for path in onnx.parent.glob(f"{glob.escape(onnx.stem)}.*")]
    return sorted(map(str, copied + leftovers))


def main() -> None:
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    module.exit_json(changed=False, **read_state(module.params))


if __name__ == "__main__":
    main()
