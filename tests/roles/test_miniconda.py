"""The miniconda role against a stand-in: conda's hosts are not asked, and the stand-in is strict (see standins/)."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.roles.ansible import Run, run_role
from tests.support.proxy import PASSWORD_IN_ADDRESS, proxy

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_DOWNLOADS = Path("/var/tmp")
_STAND_IN = Path(__file__).parent / "standins" / "miniconda.sh"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the role gives files to root, which takes root")


def installer(version: str) -> bytes:
    """The stand-in that installs `version`."""
    text = _STAND_IN.read_text("utf-8").replace("@VERSION@", version).replace("@PYTHON@", _PYTHON)
    return text.replace("@PYTHON_PATH@", str(Path(sys.base_prefix, "bin", "python3"))).encode()


@dataclass
class Mirror:
    """A web server with installers. `cut`: it closes the connection after half a file."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut: bool = False

    def offer(self, version: str) -> dict[str, str]:
        """Puts the installer of `version` there; its hash as the role wants it."""
        content = installer(version)
        self.files[f"/Miniconda3-{version}-Linux-{platform.machine()}.sh"] = content
        return {platform.machine(): hashlib.sha256(content).hexdigest()}


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            offered.asked.append(self.path)
            content = offered.files.get(self.path.removeprefix("/miniconda"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if offered.cut else content)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    offered = Mirror(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield offered
    server.shutdown()
    server.server_close()


@dataclass
class Machine:
    """A machine whose /opt is a temporary folder."""

    folder: Path
    mirror: Mirror
    downloads: set[Path]

    @property
    def prefix(self) -> Path:
        return self.folder / "opt" / "miniconda3"

    @property
    def python(self) -> Path:
        return self.prefix / "envs" / f"python-{_PYTHON}" / "bin" / "python"

    def converge(self, version: str, *arguments: str, **variables: object) -> Run:
        """Runs the role for `version`, which the mirror offers."""
        given = {
            "miniconda_version": version,
            "miniconda_sha256": self.mirror.offer(version),
            "miniconda_base_url": self.mirror.url,
            "miniconda_prefix": str(self.prefix),
            "miniconda_python_version": _PYTHON,
        }
        return run_role("miniconda", self.folder, *arguments, **given | variables)

    def left(self) -> set[Path]:
        """What the role's downloads left behind. What a killed run left is none of it."""
        return set(_DOWNLOADS.glob("*.miniconda")) - self.downloads

    def calls(self, of: str) -> list[str]:
        """With which arguments 'installer' or 'conda' was called."""
        return (self.prefix / f"{of}.calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path, mirror: Mirror) -> Machine:
    (tmp_path / "opt").mkdir()
    return Machine(tmp_path, mirror, set(_DOWNLOADS.glob("*.miniconda")))


def test_from_nothing_to_an_upgrade(machine: Machine) -> None:
    dry = machine.converge("py3_1", "--check", "--diff")
    assert dry.status == 0, dry.output
    assert not machine.prefix.exists()
    assert machine.mirror.asked == []

    first = machine.converge("py3_1")
    assert first.status == 0, first.output
    assert machine.calls("installer") == [f"-b -p {machine.prefix}"]
    environment = machine.python.parent.parent
    assert machine.calls("conda") == [
        f"create --yes --quiet --prefix {environment} --override-channels --channel conda-forge python={_PYTHON}"
    ]
    assert all(path.stat().st_mode & 0o055 == 0o055 for path in (machine.prefix, environment, machine.python.parent))
    app = machine.folder / "app"
    subprocess.run([machine.python, "-m", "venv", "--without-pip", app], check=True)

    again = machine.converge("py3_1")
    dry_again = machine.converge("py3_1", "--check", "--diff")
    assert (again.status, again.changed) == (0, 0), again.output
    assert (dry_again.status, dry_again.changed) == (0, 0), dry_again.output
    assert len(machine.mirror.asked) == 1

    before = machine.python.lstat().st_mtime_ns
    upgraded = machine.converge("py3_2")
    assert upgraded.status == 0, upgraded.output
    assert machine.calls("installer")[1:] == [f"-b -u -p {machine.prefix}"]
    assert (machine.prefix / "version").read_text() == "py3_2\n"
    # The app's Python is no part of it, and what was built on it runs on.
    assert machine.python.lstat().st_mtime_ns == before
    assert len(machine.calls("conda")) == 1
    subprocess.run([app / "bin" / "python", "-c", "import ssl"], check=True)
    assert not machine.left()


def test_everything_is_fetched_through_the_proxy(machine: Machine) -> None:
    address = urlsplit(machine.mirror.url)
    with proxy(hosts={"mirror.example": (address.hostname, address.port)}) as company:
        way = {"preflight_proxy": company.url, "preflight_no_proxy": []}
        run = machine.converge("py3_1", "-vv", miniconda_base_url="http://mirror.example/miniconda", **way)

    assert run.status == 0, run.output
    assert company.asked == {"GET mirror.example:80"}
    assert (machine.prefix / "conda.proxies").read_text().splitlines() == [
        f"{company.url} but for localhost,127.0.0.1,::1"
    ]
    assert PASSWORD_IN_ADDRESS not in run.output


def test_a_wrong_hash_installs_nothing(machine: Machine) -> None:
    run = machine.converge("py3_1", miniconda_sha256={platform.machine(): "0" * 64})

    assert run.status == 2
    assert "checksum" in run.words
    assert not machine.prefix.exists()
    assert not machine.left()


def test_half_a_download_installs_nothing_and_the_next_run_recovers(machine: Machine) -> None:
    machine.mirror.cut = True
    cut = machine.converge("py3_1")
    assert cut.status == 2
    assert not machine.prefix.exists()
    assert len(machine.mirror.asked) == 3, "it should try again before it gives up"

    machine.mirror.cut = False
    assert machine.converge("py3_1").status == 0


@pytest.mark.parametrize("hashes", [{"sparc": "0" * 64}, {platform.machine(): "latest"}])
def test_nothing_is_downloaded_without_a_hash(machine: Machine, hashes: dict) -> None:
    run = machine.converge("py3_1", miniconda_sha256=hashes)

    assert run.status == 2
    assert "Nothing is installed unverified" in run.words
    assert machine.mirror.asked == []


def test_a_broken_installation_is_finished_by_the_next_run(machine: Machine) -> None:
    assert machine.converge("py3_broken").status == 2
    assert (machine.prefix / "bin").is_dir()

    run = machine.converge("py3_1")

    assert run.status == 0, run.output
    assert machine.calls("installer")[-1] == f"-b -u -p {machine.prefix}"


def test_a_broken_environment_is_made_anew_by_the_next_run(machine: Machine) -> None:
    assert machine.converge("py3_1", miniconda_channel="interrupted").status == 2
    assert machine.python.parent.parent.is_dir()

    run = machine.converge("py3_1")

    assert run.status == 0, run.output
    assert len(machine.calls("installer")) == 1
    subprocess.run([machine.python, "-c", "import venv"], check=True)
