"""The app role: the commit that it finds and unpacks, and the model that it names."""

from __future__ import annotations

import os
import re
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from barevision.pictures.decode import encode_image
from tests.roles.ansible import HostRun, run_on_hosts
from tests.roles.rendering import Site
from tests.support.darknet_files import write_model
from tests.support.proxy import proxy
from tests.support.serving import running

_NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="the role makes files that are root's")


def git(*arguments: str, folder: Path) -> str:
    """What git says, run in `folder` by somebody with a name."""
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two commits, which changed the file `text`; a branch and a tag are the first one."""
    folder = tmp_path_factory.mktemp("folder") / "a checkout"
    folder.mkdir()
    git("init", "--quiet", folder=folder)
    for text in ("first", "second"):
        (folder / "text").write_text(text)
        git("add", "text", folder=folder)
        git("commit", "--quiet", "--message", text, folder=folder)
    git("branch", "old-branch", "HEAD~1", folder=folder)
    git("tag", "--annotate", "--message", "A tag", "old-tag", "HEAD~1", folder=folder)
    # Git takes the tag, and warns of it.
    git("branch", "twice", folder=folder)
    git("tag", "twice", "HEAD~1", folder=folder)
    return folder


@pytest.fixture(scope="module")
def commits(checkout: Path) -> dict[str, str]:
    """The commits of the checkout by the text that they have."""
    return {text: git("rev-parse", name, folder=checkout) for text, name in (("first", "HEAD~1"), ("second", "HEAD"))}


@pytest.fixture(scope="module")
def folder(checkout: Path) -> Path:
    """Where the roots of the machines are."""
    return checkout.parent


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def runs(checkout: Path, commits: dict[str, str], folder: Path) -> dict[str, HostRun]:
    """What came of finding a commit and unpacking it, on several machines in one run."""
    git("clone", "--quiet", "--depth=1", f"file://{checkout}", "shallow", folder=folder)
    git("worktree", "add", "--quiet", str(folder / "worktree"), "HEAD~1", folder=checkout)
    for path in (folder / "shallow", *(folder / "shallow").rglob("*")):
        os.chown(path, 65534, 65534)
    git("clone", "--quiet", "--mirror", str(checkout), "repository.git", folder=folder)
    here, there = {"checkout": str(checkout)}, {"app_repository": f"file://{folder}/repository.git"}
    machines = {
        "older": here | {"app_version": "HEAD~1"},
        "ambiguous": here | {"app_version": "twice"},
        # As in CI, and not root's.
        "shallow": {"checkout": str(folder / "shallow")},
        "worktree": {"checkout": str(folder / "worktree")},
        "half": here,
        "unknown": here | {"app_version": "nothing"},
        "default": there,
        "branch": there | {"app_version": "old-branch"},
        "tag": there | {"app_version": "old-tag"},
        "commit": there | {"app_version": commits["first"]},
        # Was given the first commit before the repository had the second.
        "again": there,
        "missing": there | {"app_version": "nothing"},
        # Nobody but the proxy knows where this is.
        "proxied": {"app_repository": "http://git.example/repository.git"},
    }
    hosts = {
        name: {
            "app_root": str(folder / f"root-{name}"),
            "app_repository": "",
            "ansible_become_method": "su",
            "preflight_proxy": "",
            "preflight_no_proxy": "",
            **variables,
        }
        for name, variables in machines.items()
    }
    half = folder / "root-half" / "releases" / commits["second"]
    half.mkdir(parents=True)
    (half / "text").write_text("sec")
    earlier = ("--bare", "--branch=old-branch", "--single-branch", "--no-tags")
    git("clone", "--quiet", *earlier, there["app_repository"], str(folder / "root-again" / "source"), folder=folder)
    (folder / "tmp").mkdir()
    tasks = [
        {
            "ansible.builtin.include_role": {"name": "app", "tasks_from": file},
            "vars": {"_app_checkout": "{{ checkout }}"},
            "when": condition,
        }
        for file, condition in (
            ("resolve_local_commit.yml", "app_repository | length == 0"),
            ("resolve_remote_commit.yml", "app_repository | length > 0"),
            ("checkout_release.yml", "true"),
        )
    ]
    git("update-server-info", folder=folder / "repository.git")
    files = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=folder))
    with (
        pytest.MonkeyPatch.context() as patch,
        running(files),
        proxy(hosts={"git.example": ("127.0.0.1", files.server_port)}) as company,
    ):
        hosts["proxied"]["preflight_proxy"] = company.url
        # The user's own settings could trust a checkout of somebody else's.
        patch.setenv("HOME", str(folder))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        return run_on_hosts(folder, hosts, tasks)


@_NEEDS_ROOT
class TestCheckout:
    """What the role unpacks as a release, from a checkout here or a repository."""

    @pytest.mark.parametrize(
        ("machine", "text"),
        {
            "older": "first",
            "ambiguous": "first",
            "shallow": "second",
            "worktree": "first",
            "half": "second",
            "default": "second",
            "branch": "first",
            "tag": "first",
            "commit": "first",
            "again": "second",
            "proxied": "second",
        }.items(),
    )
    def test_the_commit_is_a_release_with_its_marker(
        self, folder: Path, commits: dict[str, str], runs: dict[str, HostRun], machine: str, text: str
    ) -> None:
        assert runs[machine].failure == ""
        release = folder / f"root-{machine}" / "releases" / commits[text]
        assert (release / "text").read_text() == text
        assert (release / ".complete").is_file()
        # The run had a strict umask, and the service's user has to read it.
        paths = (release.parent, release, release / "text")
        assert [path.stat().st_mode & 0o777 for path in paths] == [0o755, 0o755, 0o644]

    @pytest.mark.parametrize("machine", ["unknown", "missing"])
    def test_a_commit_that_is_not_there_leaves_nothing(
        self, folder: Path, runs: dict[str, HostRun], machine: str
    ) -> None:
        assert "nothing" in runs[machine].failure
        assert "app_repository" in runs[machine].failure
        assert not (folder / f"root-{machine}").exists()

    def test_the_checkout_and_the_temporary_folder_stay_as_they_were(
        self, checkout: Path, folder: Path, runs: dict[str, HostRun]
    ) -> None:
        references = git("for-each-ref", "--format=%(refname)", folder=checkout).split()

        assert len(references) == 5, "the branch that was made first, old-branch, old-tag, and twice both ways"
        assert git("status", "--porcelain", folder=checkout) == ""
        assert list((folder / "tmp").iterdir()) == []


@_NEEDS_ROOT
@pytest.mark.parametrize("is_folder", [True, False])
def test_a_model_is_copied_whatever_its_name(tmp_path: Path, is_folder: bool) -> None:
    name = "a [b]* ü" if is_folder else "best[1]*.onnx"
    model = tmp_path / "here" / name
    (model if is_folder else model.parent).mkdir(parents=True)
    files = ["best[1].cfg", "best?.names", "b e$t.weights"] if is_folder else [name]
    for number, file in enumerate(files):
        (model.parent / name / file if is_folder else model).write_text(str(number))
    (tmp_path / "home").mkdir()
    role = {"name": "app", "tasks_from": "copy_model.yml"}
    variables = {"_app_home": str(tmp_path / "home"), "__app_model_files": "{{ app_model | model_files }}"}
    tasks = [{"ansible.builtin.include_role": role, "vars": variables}]

    run = run_on_hosts(tmp_path, {"vm": {"app_model": str(model), "app_user": "root"}}, tasks)["vm"]

    assert run.failure == ""
    (copy,) = (tmp_path / "home" / "own").glob("*")
    copied = {path.name: path.read_text() for path in (copy / name if is_folder else copy).iterdir()}
    assert copied == {file: str(number) for number, file in enumerate(files)}


class TestModel:
    """Which model the machine is told to serve."""

    FILES: ClassVar = {"net.cfg": "a" * 64, "net.weights": "b" * 64}

    def site(self, model: str, files: dict[str, str] = FILES, **inventory: object) -> Site:
        return Site(app_model=model, __app_model_files=files, **inventory)

    @pytest.mark.parametrize(
        ("model", "path"),
        {
            "roadsigns": "",
            "yolov3@608": "",
            "https://example.org/best.onnx": "",
            "/srv/not/here": "/srv/not/here",
            "~/not-here@64x32": "/var/lib/barevision/not-here",
            "~operator/not-here": "~operator/not-here",
        }.items(),
    )
    def test_names_and_paths_of_the_machine_stay_as_they_are(self, model: str, path: str) -> None:
        assert self.site(model).value("_app_settings")["BAREVISION_MODEL"] == model
        # A tilde is the home of the user that the service runs as.
        assert self.site(model).value("_app_model_path") == path

    def test_a_hash_goes_with_an_address(self) -> None:
        url = "https://example.org/best.onnx"

        assert self.site(url, app_model_sha256="c" * 64).value("_app_model") == f"{url}#sha256={'c' * 64}"

    @pytest.mark.parametrize(("ending", "size"), [("", ""), ("/", ""), ("@64x32", "@64x32"), ("@64", "@64x64")])
    def test_a_folder_that_is_here_is_named_by_its_content(self, tmp_path: Path, ending: str, size: str) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        site = self.site(f"{folder}{ending}")
        copy = site.value("_app_model_folder")

        assert re.fullmatch("/var/lib/barevision/own/[0-9a-f]{16}/mine", copy)
        assert site.value("_app_model_path") == copy
        assert site.value("_app_model") == f"{copy}{size}"
        for files in ({"net.cfg": "a" * 64}, {"net.cfg": "a" * 64, "net.weights": "c" * 64}):
            assert self.site(str(folder), files).value("_app_model_folder") != copy

    def test_a_folder_with_an_at_sign_in_its_name_is_meant_as_it_is(self, tmp_path: Path) -> None:
        for name in ("mine", "mine@64"):
            (tmp_path / name).mkdir()

        assert self.site(f"{tmp_path}/mine@64").value("_app_model").endswith("/mine@64")

    def test_a_file_that_is_here_is_a_model_too(self, tmp_path: Path) -> None:
        path = tmp_path / "best[1].onnx"
        path.touch()
        site = self.site(str(path), {"best[1].onnx": "a" * 64})
        folder = site.value("_app_model_folder")

        assert re.fullmatch("/var/lib/barevision/own/[0-9a-f]{16}", folder)
        assert site.value("_app_model") == f"{folder}/best[1].onnx"


def test_a_model_is_quantized_here_once_for_all_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setenv("HOME", str(tmp_path))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(8):
        image = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        (pictures / f"{number}.png").write_bytes(encode_image(image, ".png"))
    machine = {
        "app_model": str(write_model(tmp_path / "net")),
        "app_model_precision": "int8",
        "app_model_calibration": str(pictures),
        "preflight_proxy": "",
    }
    tasks = [
        {"ansible.builtin.include_role": {"name": "app", "tasks_from": "quantize", "public": True}},
        # What preflight and the rest of the role take for the model.
        {"ansible.builtin.assert": {"that": "(app_served_model ~ '/net-int8.onnx') is exists"}},
    ]

    def run(*arguments: str, **changes: str) -> dict[str, HostRun]:
        return run_on_hosts(tmp_path, {"first": machine | changes, "second": machine | changes}, tasks, *arguments)

    assert "a dry run quantizes nothing" in run("--check")["first"].failure
    assert "app_model_calibration has to name a folder" in run(app_model_calibration="")["first"].failure
    refused = {name: found.failure for name, found in run(app_model_calibration="/nowhere").items()}
    assert all("'/nowhere' does not exist" in failure for failure in refused.values())
    made = run()
    assert sorted(found.changed for found in made.values()) == [0, 1]
    assert [found.failure for found in made.values()] == ["", ""]
    assert [found.changed for found in run().values()] == [0, 0]
