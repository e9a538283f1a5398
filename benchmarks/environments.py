"""The contestants' virtual environments, below build/bench/venvs. Versions beside the app's stand here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"

_WORK = ["numpy", "onnxruntime", "opencv-python-headless", "openvino", "pillow", "pydantic"]
# What each is made of. Where no version stands here, app/requirements.txt has it.
_PACKAGES = {
    "bentoml": [*_WORK, "bentoml==1.4.39"],
    "fastapi": [*_WORK, "fastapi==0.165.0", "uvicorn[standard]==0.54.0"],
    "flask": [*_WORK, "flask", "gunicorn"],
    "litserve": [*_WORK, "litserve==0.2.19"],
    # The last OpenCV with a Darknet importer.
    "opencv4": ["flask", "gunicorn", "numpy", "opencv-python-headless==4.14.0.94"],
    "plots": ["matplotlib==3.11.2"],
}


def made(name: str) -> Path:
    """The Python of the environment `name`, made if it isn't there as it should be.

    :raises RuntimeError: with what uv says, such as that a package can't be fetched.
    """
    folder = BUILD / "venvs" / name
    python, packages, marker = folder / "bin" / "python", _PACKAGES[name], folder / "packages.txt"
    wanted = "\n".join([*packages, *_locked()])
    if marker.is_file() and marker.read_text() == wanted:
        return python
    constraints = BUILD / "constraints.txt"
    constraints.parent.mkdir(parents=True, exist_ok=True)
    pinned = {package.partition("==")[0] for package in packages if "==" in package}
    constraints.write_text("".join(f"{line}\n" for line in _locked() if line.partition("==")[0] not in pinned))
    print(f"making the environment {name}", flush=True)
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--quiet", "--python", str(python), "--constraint", str(constraints), *packages)
    marker.write_text(wanted)
    return python


def versions(name: str) -> list[str]:
    """What is installed in the environment `name`, as name==version."""
    return _uv("pip", "freeze", "--python", str(BUILD / "venvs" / name / "bin" / "python")).split()


def _locked() -> list[str]:
    """The packages of the app's lock, as name==version."""
    return re.findall(r"^[a-z0-9-]+==[^ ;\\]+", (ROOT / "app" / "requirements.txt").read_text("utf-8"), re.MULTILINE)


def _uv(*arguments: str) -> str:
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run(
        [uv, *arguments],
        env={**os.environ, "UV_SYSTEM_CERTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"uv {arguments[0]} failed:\n{done.stderr}")
    return done.stdout
