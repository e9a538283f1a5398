"""What release_info reads of a deployment, and what it lets go."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import seals

from plugins.modules import release_info

COMMIT = "c" * 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A deployment's folder without a release, beside the folders of models."""
    for name in ("root/releases", "root/envs", "models", "own"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "root"


Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(root: Path) -> Read:
    """Reads the state, as a task with these parameters does."""

    def read_state(**params: Any) -> dict[str, Any]:
        given = {
            "root": str(root),
            "commit": COMMIT,
            "python": sys.executable,
            "settings": {"BAREVISION_MODEL": "roadsigns"},
            "model": "",
            "model_folder": str(root),
            "model_files": {},
            "copied_models_dir": str(root.parent / "own"),
            "models_dir": str(root.parent / "models"),
            "socket": str(root.parent / "socket"),
            "keep": 2,
        }
        return release_info.read_state(given | params)

    return read_state


def make_release(root: Path, commit: str, age: int = 0, environment: str = "e0") -> Path:
    """A release that was made `age` seconds ago and proven, with its environment."""
    release = root / "releases" / commit
    (release / "app").mkdir(parents=True)
    (release / "app" / "requirements.txt").write_text("numpy==1\n")
    (root / "envs" / environment).mkdir(exist_ok=True)
    (release / "env").symlink_to(root / "envs" / environment)
    (release / ".proven").write_text("{}")
    seal(release)
    os.utime(release, (10**9 - age, 10**9 - age))
    return release


def seal(folder: Path) -> None:
    """Marks `folder` as complete."""
    seals.write_seal(folder, seals.describe_files(folder, ("env", ".proven")))


@contextlib.contextmanager
def service(root: Path, answer: bytes) -> Iterator[None]:
    """A service that answers every request at the socket with `answer`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            assert self.rfile.readline() == b"GET /readyz HTTP/1.0\r\n"
            self.wfile.write(answer)

    with socketserver.ThreadingUnixStreamServer(str(root.parent / "socket"), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
    (root.parent / "socket").unlink()


def test_the_documentation_describes_the_arguments() -> None:
    options = yaml.safe_load(release_info.DOCUMENTATION)["options"]

    assert {name: option | {"description": ""} for name, option in options.items()} == {
        name: argument | {"description": ""} for name, argument in release_info._ARGUMENTS.items()
    }


def test_the_documentation_describes_what_is_returned(read: Read) -> None:
    assert set(yaml.safe_load(release_info.RETURN)) == set(read())


def test_a_machine_without_a_deployment(tmp_path: Path, read: Read) -> None:
    state = read(root=str(tmp_path / "nothing"), copied_models_dir="/nowhere", models_dir="/nowhere")

    assert (state["current"], state["environment"], state["removable"]) == ("", "", [])
    assert not any(state[name] for name in ("environment_is_complete", "is_proven", "is_current"))


class TestEnvironment:
    def test_it_is_named_by_lock_file_and_python(self, root: Path, read: Read, tmp_path: Path) -> None:
        release = make_release(root, COMMIT)
        first = read()["environment"]
        other = tmp_path / "python"
        other.symlink_to(sys.executable)

        assert Path(first).parent == root / "envs"
        assert read()["environment"] == first
        assert read(python=str(other))["environment"] != first
        (release / "app" / "requirements.txt").write_text("numpy==2\n")
        assert read()["environment"] != first

    def test_without_a_python_there_is_none(self, root: Path, read: Read) -> None:
        make_release(root, COMMIT)

        assert read(python="/nonexistent/python")["environment"] == ""
        assert read(python="/bin/false")["environment"] == ""

    @pytest.fixture
    def environment(self, root: Path, read: Read) -> Path:
        """The environment of the release, complete."""
        make_release(root, COMMIT)
        (root / "current").symlink_to(f"releases/{COMMIT}")
        environment = Path(read()["environment"])
        environment.mkdir()
        (environment / "python").symlink_to(sys.executable)
        (environment / "module.py").write_text("1 + 1")
        seal(environment)
        return environment

    def test_it_counts_with_its_marker_only(self, read: Read, environment: Path) -> None:
        assert read()["environment_is_complete"]
        assert read()["damage"] == []

        (environment / ".complete").unlink()

        state = read()
        assert (state["environment"], state["environment_is_complete"]) == (str(environment), False)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda environment: (environment / "module.py").unlink(),
            lambda environment: (environment / "module.py").write_text("1 + 11"),
            lambda environment: (environment / "module.py").chmod(0o600),
            lambda environment: (environment / "python").unlink(),
            lambda environment: (environment / ".complete").write_text(""),
        ],
        ids=["gone", "longer", "unreadable", "link gone", "emptied marker"],
    )
    def test_a_damaged_one_is_made_again_beside_and_goes_when_nothing_runs_from_it(
        self, root: Path, read: Read, environment: Path, damage: Callable[[Path], None]
    ) -> None:
        damage(environment)

        with service(root, b"HTTP/1.0 200 OK\r\n\r\n"):
            state = read()

        beside = Path(f"{environment}-2")
        assert (state["environment"], state["environment_is_complete"]) == (str(beside), False)
        assert len(state["damage"]) == 1
        beside.mkdir()
        (beside / "module.py").write_text("1 + 1")
        seal(beside)
        state = read()
        assert (state["environment"], state["environment_is_complete"]) == (str(beside), True)
        assert state["damage"] == []
        assert state["releases_to_link"] == []
        assert str(environment) in state["removable"]
        # The next damage finds a name again.
        (beside / "module.py").unlink()
        shutil.rmtree(environment)
        assert read()["environment"] == str(environment)

    def test_releases_that_share_a_damaged_one_are_named(self, root: Path, read: Read, environment: Path) -> None:
        other = make_release(root, "b" * 40)
        (other / "env").unlink()
        (other / "env").symlink_to(environment)
        assert read()["releases_to_link"] == []
        (environment / "module.py").unlink()
        assert read()["releases_to_link"] == [str(other)]

    def test_one_that_the_service_runs_from_stays_without_a_marker(
        self, root: Path, read: Read, environment: Path
    ) -> None:
        (environment / ".complete").unlink()
        link = root / "releases" / COMMIT / "env"
        link.unlink()
        link.symlink_to(environment)

        state = read()

        assert (state["environment"], state["environment_is_complete"]) == (f"{environment}-2", False)
        assert state["damage"] == [f"{environment}/.complete does not list the files that {environment} consists of"]

    def test_it_is_read_whole_unless_the_service_is_ready_with_it(
        self, root: Path, read: Read, environment: Path
    ) -> None:
        """A byte that flips on the disk changes no time."""
        status = (environment / "module.py").stat()
        (environment / "module.py").write_text("1 + 2")
        os.utime(environment / "module.py", ns=(status.st_atime_ns, status.st_mtime_ns))

        assert read()["damage"] == [f"{environment}/module.py is not as it was made"]
        with service(root, b"HTTP/1.0 503 Service Unavailable\r\n\r\n"):
            assert read()["damage"]
        with service(root, b"HTTP/1.0 200 OK\r\n\r\n"):
            assert not read()["damage"]
            (root / "current").unlink()
            assert read()["damage"], "the service that is ready is another release's"

    def test_a_file_that_was_only_touched_is_as_it_was(self, read: Read, environment: Path) -> None:
        os.utime(environment / "module.py", (1, 1))
        (environment / "module.pyc").write_text("added")

        assert read()["damage"] == []


class TestRelease:
    def test_it_counts_with_its_marker_only(self, root: Path, read: Read) -> None:
        marker = make_release(root, COMMIT) / ".complete"
        assert read()["is_checked_out"]
        marker.unlink()
        assert not read()["is_checked_out"]
        assert read()["damage"] == [], "it never was complete"

    def test_a_damaged_one_is_made_again(self, root: Path, read: Read) -> None:
        release = make_release(root, COMMIT)
        lock = release / "app" / "requirements.txt"
        status = lock.stat()
        with service(root, b"HTTP/1.0 200 OK\r\n\r\n"):
            for content in ("numpy==2\n", ""):
                lock.write_text(content)
                os.utime(lock, ns=(status.st_atime_ns, status.st_mtime_ns))
                assert read()["damage"] == [f"{lock} is not as it was made"]
                assert not read()["is_checked_out"]
            lock.unlink()
            assert read()["damage"] == [f"{lock} can't be read: No such file or directory"]
            assert not read()["is_checked_out"]

    def test_a_broken_marker_is_a_damage(self, root: Path, read: Read) -> None:
        marker = make_release(root, COMMIT) / ".complete"
        for content in ("", "{", "[]", '{"files": {}}', '{"files": [1]}', "\xff"):
            marker.write_text(content, "latin-1")
            assert not read()["is_checked_out"]
            assert len(read()["damage"]) == 1, content

    def test_what_changes_in_a_complete_release_is_no_damage(self, root: Path, read: Read) -> None:
        release = make_release(root, COMMIT)
        (release / ".proven").write_text("{1}")
        (release / "env").unlink()

        assert read()["is_checked_out"]


def test_a_release_is_current_by_its_link_and_with_its_environment(root: Path, read: Read) -> None:
    release = make_release(root, COMMIT)
    make_release(root, "b" * 40)
    environment = read()["environment"]
    (root / "current").symlink_to(f"releases/{'b' * 40}")
    (release / "env").unlink()
    (release / "env").symlink_to(environment)
    assert not read()["is_current"]
    assert read()["current"] == "b" * 40

    (root / "current").unlink()
    (root / "current").symlink_to(f"releases/{COMMIT}")
    assert read()["is_current"]

    (release / "env").unlink()
    (release / "env").symlink_to(root / "envs" / "e0")
    assert not read()["is_current"]


class TestProof:
    @pytest.fixture
    def prepared(self, root: Path) -> Path:
        path = root.parent / "models" / "m.onnx"
        path.write_text("model")
        return path

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        """A model that somebody keeps on the machine."""
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "m.weights").write_text("1")
        (folder / "old.weights").symlink_to("/nonexistent")
        return folder

    def prove(self, release: Path, state: dict[str, Any], prepared: Path) -> None:
        digest = hashlib.sha256(prepared.read_bytes()).hexdigest()
        (release / ".proven").write_text(json.dumps(state["trial"] | {"prepared": {str(prepared): digest}}))

    def test_it_holds_for_the_settings_and_the_environment(self, root: Path, read: Read, prepared: Path) -> None:
        release = make_release(root, COMMIT)
        assert not read()["is_proven"]
        self.prove(release, read(), prepared)

        assert read()["is_proven"]
        assert not read(settings={"BAREVISION_MODEL": "yolov3"})["is_proven"]
        (release / "app" / "requirements.txt").write_text("numpy==2\n")
        assert not read()["is_proven"]

    def test_it_holds_while_what_was_prepared_is_as_it_was(self, root: Path, read: Read, prepared: Path) -> None:
        release = make_release(root, COMMIT)
        self.prove(release, read(), prepared)
        assert read()["is_proven"]
        assert read()["damage"] == []

        for damage in (lambda: prepared.write_text("modem"), lambda: prepared.write_text(""), prepared.unlink):
            damage()
            assert not read()["is_proven"]
            assert read()["damage"] == [f"{prepared} is not as it was prepared"]

    def test_a_model_that_was_replaced_in_place_is_tried_again(
        self, root: Path, read: Read, prepared: Path, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        release = make_release(root, COMMIT)
        monkeypatch.setenv("HOME", str(model.parent))
        for path in (model, model / "m.weights", "~/mine"):
            (model / "m.weights").write_text("1")
            self.prove(release, read(model=str(path)), prepared)
            assert read(model=str(path))["is_proven"]

            (model / "m.weights").write_text("22")

            assert not read(model=str(path))["is_proven"]

    def test_what_goes_while_it_is_read_is_left_out(
        self, root: Path, read: Read, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_release(root, COMMIT)
        names = [file["name"] for file in read(model=str(model))["trial"]["model_files"]]
        assert names == ["m.weights"]
        iterdir, inside = Path.iterdir, sorted(model.iterdir())
        monkeypatch.setattr(Path, "iterdir", lambda path: iter(inside) if path == model else iterdir(path))
        (model / "m.weights").unlink()
        assert read(model=str(model))["trial"]["model_files"] == []

        monkeypatch.undo()
        shutil.rmtree(model)
        assert read(model=str(model))["trial"]["model_files"] == []

    def test_a_copied_model_is_known_by_its_path(self, root: Path, read: Read, prepared: Path) -> None:
        """So that what it is tried with is known before it is copied."""
        copy = root.parent / "own" / "1" / "mine"
        release = make_release(root, COMMIT)
        before = read(model=str(copy))
        copy.mkdir(parents=True)
        (copy / "m.weights").write_text("1")

        self.prove(release, before, prepared)

        assert read(model=str(copy))["is_proven"]

    @pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '{"prepared": 1}', '{"prepared": "/m.onnx"}', "\xff"])
    def test_a_broken_one_proves_nothing(self, root: Path, read: Read, content: str) -> None:
        (make_release(root, COMMIT) / ".proven").write_text(content, "latin-1")

        assert not read()["is_proven"]


def test_a_copied_model_is_complete_with_every_file_as_it_was(root: Path, read: Read) -> None:
    path = root / "best.onnx"
    path.write_bytes(b"x" * 3_000_000)
    files = {"best.onnx": hashlib.sha256(path.read_bytes()).hexdigest()}

    assert read()["model_is_complete"]
    assert read(model_files=files)["model_is_complete"]
    assert not read(model_files={**files, "best.names": "0" * 64})["model_is_complete"]
    path.write_bytes(b"y" * 3_000_000)
    assert not read(model_files=files)["model_is_complete"]


class TestRemovable:
    @pytest.fixture
    def removable(self, read: Read) -> Callable[..., list[str]]:
        """Which folders and files can go; a folder's marker has to go right before it."""

        def folders(**params: Any) -> list[str]:
            paths = read(**params)["removable"]
            for before, path in itertools.pairwise(["", *paths]):
                assert before == f"{path}/.complete" or not Path(path, ".complete").exists()
            return [path for path in paths if not path.endswith("/.complete")]

        return folders

    def test_old_releases_and_what_only_they_used(self, root: Path, removable: Callable[..., list[str]]) -> None:
        make_release(root, COMMIT, 0, "new")
        make_release(root, "b" * 40, 10, "old")
        make_release(root, "a" * 40, 20, "older")
        (root / "current").symlink_to(f"releases/{COMMIT}")
        (root / "releases" / ".left").mkdir()

        assert sorted(removable(keep=2)) == [
            str(root / "envs" / "older"),
            str(root / "releases" / ".left"),
            str(root / "releases" / ("a" * 40)),
        ]
        assert removable(keep=5) == [str(root / "releases" / ".left")]

    @pytest.mark.parametrize("is_proven", [False, True])
    def test_a_release_that_failed_goes_before_one_that_served(
        self, root: Path, removable: Callable[..., list[str]], is_proven: bool
    ) -> None:
        make_release(root, COMMIT, 0)
        failed = make_release(root, "b" * 40, 10)
        if is_proven:
            # It passed its trial, and did not answer rightly once it was in service.
            (failed / ".failed").touch()
        else:
            (failed / ".proven").unlink()
        os.utime(failed)
        make_release(root, "a" * 40, 20)

        assert removable(keep=2) == [str(failed)]
        assert removable(keep=2, commit="b" * 40) == [str(root / "releases" / ("a" * 40))]

    def test_the_current_release_stays_however_old(self, root: Path, removable: Callable[..., list[str]]) -> None:
        make_release(root, COMMIT, 0)
        make_release(root, "b" * 40, 10)
        make_release(root, "a" * 40, 20)
        (root / "current").symlink_to("releases/" + "a" * 40)

        assert removable(keep=2) == [str(root / "releases" / ("b" * 40))]

    def test_a_release_that_still_runs_stays(self, root: Path, removable: Callable[..., list[str]]) -> None:
        make_release(root, COMMIT, 0)
        make_release(root, "b" * 40, 10)
        running = make_release(root, "a" * 40, 20) / "app"
        with subprocess.Popen(["sleep", "60"], cwd=running) as process:
            try:
                found = removable(keep=2)
            finally:
                process.kill()

        assert found == [str(root / "releases" / ("b" * 40))]

    def test_an_environment_that_still_runs_stays(self, root: Path, removable: Callable[..., list[str]]) -> None:
        make_release(root, COMMIT, 0)
        program = root / "envs" / "running" / "sleep"
        program.parent.mkdir()
        shutil.copy("/bin/sleep", program)
        with subprocess.Popen([program, "60"]) as process:
            try:
                while_running = removable()
            finally:
                process.kill()

        assert while_running == []
        assert removable() == [str(program.parent)]

    def test_a_copied_model_goes_with_what_was_prepared_of_it_once_no_release_needs_it(
        self, root: Path, removable: Callable[..., list[str]]
    ) -> None:
        own, models = root.parent / "own", root.parent / "models"
        for folder in (*(own / number / "mine" for number in "123"), own / "4", models / "mine", models / "best[1]"):
            folder.mkdir(parents=True)
        (own / "4" / "best[1].onnx").touch()
        for name in ("mine/mine-1", "mine/mine-2", "mine/mine-3", "best[1]/best[1]-1"):
            (models / f"{name}.onnx").touch()
            (models / f"{name}.speed.json").touch()
        for age, (commit, name) in enumerate({COMMIT: "mine/mine-2", "b" * 40: "mine/mine-3"}.items()):
            settings = {"BAREVISION_MODEL": str(own / name[-1] / "mine@640")}
            proof = json.dumps({"settings": settings, "prepared": {str(models / f"{name}.onnx"): "0" * 64}})
            (make_release(root, commit, age) / ".proven").write_text(proof)

        found = removable(model=str(own / "2" / "mine"), keep=2)

        assert sorted(str(Path(path).relative_to(root.parent)) for path in found) == [
            "models/best[1]/best[1]-1.onnx",
            "models/best[1]/best[1]-1.speed.json",
            "models/mine/mine-1.onnx",
            "models/mine/mine-1.speed.json",
            "own/1",
            "own/4",
        ]
