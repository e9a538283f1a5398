"""The app role's own scripts: the bundle of one commit, and the look at a machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from tests.roles.rendering import ROOT, Site

_FILES = ROOT / "roles" / "app" / "files"


def git(*arguments: str, folder: Path) -> str:
    """What git says, run in `folder` by somebody with a name."""
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with two commits, which changed the file `text`."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    git("init", "--quiet", folder=folder)
    for text in ("first", "second"):
        (folder / "text").write_text(text)
        git("add", "text", folder=folder)
        git("commit", "--quiet", "--message", text, folder=folder)
    return folder


class TestBundle:
    """As roles/app/tasks/push.yml uses it."""

    def deploy(self, checkout: Path, commit: str, mirror: Path) -> str:
        """What `text` is on the machine after `commit` was pushed to its repository `mirror`."""
        bundle = mirror.parent / "bundle"
        subprocess.run(["sh", _FILES / "bundle.sh", checkout, commit, bundle], check=True)
        if not mirror.exists():
            git("init", "--quiet", "--bare", str(mirror), folder=mirror.parent)
        with (mirror / "shallow").open("a") as shallow:
            shallow.write(f"{commit}\n")
        git("fetch", "--quiet", str(bundle), f"deploy:refs/barevision/{commit}", folder=mirror)
        git("fsck", "--strict", folder=mirror)
        return git("show", f"{commit}:text", folder=mirror)

    def test_any_commit_of_a_full_clone(self, checkout: Path, tmp_path: Path) -> None:
        for revision, text in (("HEAD", "second"), ("HEAD~1", "first")):
            commit = git("rev-parse", revision, folder=checkout)
            assert self.deploy(checkout, commit, tmp_path / "mirror.git") == text

    def test_a_shallow_clone(self, checkout: Path, tmp_path: Path) -> None:
        git("clone", "--quiet", "--depth=1", f"file://{checkout}", "shallow clone", folder=tmp_path)
        commit = git("rev-parse", "HEAD", folder=checkout)

        assert self.deploy(tmp_path / "shallow clone", commit, tmp_path / "mirror.git") == "second"

    def test_a_worktree(self, checkout: Path, tmp_path: Path) -> None:
        git("worktree", "add", "--quiet", str(tmp_path / "worktree"), "HEAD~1", folder=checkout)
        commit = git("rev-parse", "HEAD", folder=tmp_path / "worktree")

        assert self.deploy(tmp_path / "worktree", commit, tmp_path / "mirror.git") == "first"

    def test_the_checkout_and_the_temporary_folder_stay_as_they_were(
        self, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        before = git("for-each-ref", folder=checkout)

        self.deploy(checkout, git("rev-parse", "HEAD", folder=checkout), tmp_path / "mirror.git")

        assert git("for-each-ref", folder=checkout) == before
        assert git("status", "--porcelain", folder=checkout) == ""
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_a_commit_that_is_not_there_leaves_nothing(self, checkout: Path, tmp_path: Path) -> None:
        done = subprocess.run(
            ["sh", _FILES / "bundle.sh", checkout, "1" * 40, tmp_path / "bundle"], capture_output=True, check=False
        )

        assert done.returncode != 0
        assert not (tmp_path / "bundle").exists()


class TestState:
    """What the look at a machine finds."""

    COMMIT = "c" * 40

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "root"
        for name in ("releases", "envs"):
            (root / name).mkdir(parents=True)
        (tmp_path / "models").mkdir()
        return root

    def look(self, root: Path, **wanted: object) -> dict:
        given = {
            "root": str(root),
            "models": str(root.parent / "models"),
            "user": "root",
            "home": "/root",
            "commit": self.COMMIT,
            "python": sys.executable,
            "directories": [],
            "settings": {"path": "/nowhere", "owner": "root", "group": "root", "mode": "0640", "sha256": ""},
            "model": "roadsigns",
            "files": {},
            "trial": "{}",
            "keep": 2,
        }
        done = subprocess.run(
            [sys.executable, "-", json.dumps(given | wanted)],
            input=(_FILES / "state.py").read_text("utf-8"),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def release(self, root: Path, name: str, age: int, environment: str = "e0") -> Path:
        """A release that was made `age` seconds ago, with its environment."""
        folder = root / "releases" / name
        (folder / "app").mkdir(parents=True)
        (folder / "app" / "requirements.txt").write_text("numpy==1\n")
        (root / "envs" / environment).mkdir(exist_ok=True)
        (folder / "env").symlink_to(root / "envs" / environment)
        (folder / ".proven").write_text("{}")
        os.utime(folder, (10**9 - age, 10**9 - age))
        return folder

    def test_nothing_is_there(self, tmp_path: Path) -> None:
        found = self.look(tmp_path / "nothing")

        assert not any(found[name] for name in ("commit", "release", "environment", "proven", "settings", "current"))
        assert found["stale"] == []

    def test_the_environment_is_named_by_lock_file_and_python(self, root: Path) -> None:
        release = self.release(root, self.COMMIT, 0)
        first = self.look(root)["environment"]

        assert first == self.look(root)["environment"]
        assert self.look(root, python="/nonexistent/python")["environment"] is None
        (release / "app" / "requirements.txt").write_text("numpy==2\n")
        assert self.look(root)["environment"] != first

    def test_an_environment_counts_with_its_marker_only(self, root: Path) -> None:
        release = self.release(root, self.COMMIT, 0)
        environment = root / "envs" / self.look(root)["environment"]
        environment.mkdir()
        assert not self.look(root)["environment_is_complete"]

        (environment / ".complete").touch()
        assert self.look(root)["environment_is_complete"]
        assert not self.look(root)["environment_is_named"]

        (release / "env").unlink()
        (release / "env").symlink_to(environment)
        assert self.look(root)["environment_is_named"]

    def test_a_release_is_proven_for_its_settings_and_its_model(self, root: Path) -> None:
        release = self.release(root, self.COMMIT, 0)
        prepared = root.parent / "models" / "m.onnx"
        prepared.touch()
        folder = root.parent / "mine"
        folder.mkdir()
        (folder / "m.weights").write_text("1")

        def prove() -> None:
            proof = {"trial": self.look(root, model=str(folder))["trial"], "path": str(prepared)}
            (release / ".proven").write_text(json.dumps(proof))
            assert self.look(root, model=str(folder))["proven"]

        prove()
        assert not self.look(root, model=str(folder), trial='{"other": 1}')["proven"]
        (folder / "m.weights").write_text("22")
        assert not self.look(root, model=str(folder))["proven"], "the model was replaced in place"
        prove()
        prepared.unlink()
        assert not self.look(root, model=str(folder))["proven"], "the prepared model is gone"

    def test_a_copied_model_is_there_with_every_file_as_it_was(self, root: Path) -> None:
        path = root / "best.onnx"
        path.write_text("x")
        right = {str(path): "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}

        assert self.look(root)["model"]
        assert self.look(root, files=right)["model"]
        assert not self.look(root, files={**right, str(root / "best.names"): "0" * 64})["model"]
        path.write_text("y")
        assert not self.look(root, files=right)["model"]

    def test_a_file_or_a_sized_model_that_was_replaced_in_place_is_tried_again(self, root: Path) -> None:
        path = root / "best.onnx"
        path.write_text("1")
        before = [self.look(root, model=f"{path}{size}")["trial"] for size in ("", "@64")]
        path.write_text("22")
        after = [self.look(root, model=f"{path}{size}")["trial"] for size in ("", "@64")]

        assert len({*before, *after}) == 4

    def test_a_copied_model_goes_with_what_was_prepared_of_it_once_no_release_needs_it(self, root: Path) -> None:
        own, models = root.parent / "own", root.parent / "models"
        for folder in (own / "1" / "mine", own / "2" / "mine", own / "3", models / "mine", models / "best"):
            folder.mkdir(parents=True)
        (own / "3" / "best.onnx").touch()
        for name in ("mine/mine-1", "mine/mine-2", "mine/mine-3", "best/best-1"):
            (models / f"{name}.onnx").touch()
            (models / f"{name}.seconds.json").touch()
        for age, (commit, path) in enumerate({self.COMMIT: "mine/mine-2", "b" * 40: "mine/mine-3"}.items()):
            proof = json.dumps({"trial": "", "path": str(models / f"{path}.onnx")})
            (self.release(root, commit, age) / ".proven").write_text(proof)

        stale = self.look(root, home=str(root.parent), model=str(own / "2" / "mine@64"))["stale"]
        assert [str(Path(path).relative_to(root.parent)) for path in stale if "/envs/" not in path] == [
            "models/best/best-1.onnx",
            "models/best/best-1.seconds.json",
            "models/mine/mine-1.onnx",
            "models/mine/mine-1.seconds.json",
            "own/1",
            "own/3",
        ]

    @pytest.mark.parametrize("content", ["", "{", "{}", "[1]"])
    def test_a_broken_proof_is_none(self, root: Path, content: str) -> None:
        (self.release(root, self.COMMIT, 0) / ".proven").write_text(content)

        assert not self.look(root)["proven"]

    def test_old_releases_and_what_only_they_used_can_go(self, root: Path) -> None:
        self.release(root, self.COMMIT, 0, "new")
        self.release(root, "b" * 40, 10, "old")
        self.release(root, "a" * 40, 20, "older")
        (root / "current").symlink_to(f"releases/{self.COMMIT}")
        (root / "releases" / ".left").mkdir()

        assert sorted(self.look(root, keep=2)["stale"]) == [
            str(root / "envs" / "older"),
            str(root / "releases" / ".left"),
            str(root / "releases" / ("a" * 40)),
        ]
        assert self.look(root, keep=5)["stale"] == [str(root / "releases" / ".left")]

    def test_a_release_that_failed_goes_before_one_that_served(self, root: Path) -> None:
        self.release(root, self.COMMIT, 0)
        failed = self.release(root, "b" * 40, 10)
        (failed / ".proven").unlink()
        os.utime(failed)
        self.release(root, "a" * 40, 20)

        assert self.look(root, keep=2)["stale"] == [str(failed)]
        assert self.look(root, keep=2, commit="b" * 40)["stale"] == [str(root / "releases" / ("a" * 40))]

    def test_the_current_release_stays_however_old(self, root: Path) -> None:
        self.release(root, self.COMMIT, 0)
        self.release(root, "b" * 40, 10)
        self.release(root, "a" * 40, 20)
        (root / "current").symlink_to("releases/" + "a" * 40)

        assert self.look(root, keep=2)["stale"] == [str(root / "releases" / ("b" * 40))]

    def test_a_release_that_still_runs_stays(self, root: Path) -> None:
        self.release(root, self.COMMIT, 0)
        self.release(root, "b" * 40, 10)
        running = self.release(root, "a" * 40, 20) / "app"
        with subprocess.Popen(["sleep", "60"], cwd=running) as process:
            try:
                stale = self.look(root, keep=2)["stale"]
            finally:
                process.kill()

        assert stale == [str(root / "releases" / ("b" * 40))]

    def test_an_environment_that_still_runs_stays(self, root: Path) -> None:
        self.release(root, self.COMMIT, 0)
        program = root / "envs" / "running" / "sleep"
        program.parent.mkdir()
        shutil.copy("/bin/sleep", program)
        with subprocess.Popen([program, "60"]) as process:
            try:
                running = self.look(root)["stale"]
            finally:
                process.kill()

        assert running == []
        assert self.look(root)["stale"] == [str(program.parent)]

    def test_a_file_is_right_with_owner_mode_and_content(self, root: Path) -> None:
        path = root / "settings"
        path.write_text("x")
        path.chmod(0o640)
        right = {
            "path": str(path),
            "owner": path.owner(),
            "group": path.group(),
            "mode": "0640",
            "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        }

        assert self.look(root, settings=right)["settings"]
        for name, other in (
            ("mode", "0600"),
            ("owner", "daemon"),
            ("group", "daemon"),
            ("sha256", "0"),
            ("path", "/no"),
        ):
            assert not self.look(root, settings=right | {name: other})["settings"], name
        assert self.look(root, directories=[right, right | {"path": "/no"}])["directories"] == ["/no"]


class TestModel:
    """Which model the machine is told to serve."""

    def site(self, model: str, **inventory: object) -> Site:
        return Site(app_model=model, __app_model_files={"files": self.FILES}, **inventory)

    FILES: ClassVar = [
        {"path": "/here/mine/net.weights", "checksum": "b" * 64},
        {"path": "/here/mine/net.cfg", "checksum": "a" * 64},
    ]

    @pytest.mark.parametrize("model", ["roadsigns", "yolov3@608", "/srv/not/here", "~/not-here@64x32"])
    def test_names_and_paths_of_the_machine_stay_as_they_are(self, model: str) -> None:
        assert self.site(model).value("_app_settings")["BAREVISION_MODEL"] == model
        assert self.site(model).value("_app_model_files") == []

    def test_a_hash_goes_with_an_address(self) -> None:
        url = "https://example.org/best.onnx"

        assert self.site(url, app_model_sha256="c" * 64).value("_app_model") == f"{url}#sha256={'c' * 64}"

    @pytest.mark.parametrize("ending", ["", "/", "@64x32"])
    def test_a_folder_that_is_here_is_named_by_its_content(self, tmp_path: Path, ending: str) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        site = self.site(f"{folder}{ending}")
        digest = site.value("_app_model_digest")

        assert len(digest) == 16
        size = ending if "@" in ending else ""
        assert site.value("_app_model") == f"/var/lib/barevision/own/{digest}/mine{size}"
        assert site.value("_app_model_folder") == f"/var/lib/barevision/own/{digest}/mine"
        other = Site(app_model=str(folder), __app_model_files={"files": self.FILES[:1]})
        assert other.value("_app_model_digest") != digest
        same = Site(app_model=str(folder), __app_model_files={"files": self.FILES[::-1]})
        assert same.value("_app_model_digest") == digest

    def test_a_file_that_is_here_is_a_model_too(self, tmp_path: Path) -> None:
        path = tmp_path / "best.onnx"
        path.touch()
        site = self.site(str(path))
        parent = f"/var/lib/barevision/own/{site.value('_app_model_digest')}"

        assert (site.value("_app_model"), site.value("_app_model_folder")) == (f"{parent}/best.onnx", parent)
