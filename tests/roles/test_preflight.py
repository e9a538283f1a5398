"""Preflight: each check's message names the bad value and the way out; check mode runs through all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.roles.ansible import Run, run_role

_FACTS = {
    "distribution": "Debian",
    "distribution_version": "12.5",
    "distribution_major_version": "12",
    "architecture": "x86_64",
    "service_mgr": "systemd",
}


def preflight(folder: Path, *arguments: str, facts: dict | None = None, **variables: object) -> Run:
    given = {
        "preflight_environment": "conda",
        "preflight_conda_prefix": str(folder / "conda"),
        "preflight_conda_python_version": "3.12",
        "preflight_root": str(folder / "root"),
        "preflight_models_dir": str(folder / "models"),
        "preflight_model": "yolov3-tiny",
        "preflight_repository": "",
        "preflight_environment_bytes": 1,
        "preflight_conda_bytes": 1,
        "preflight_system_memory_bytes": 1,
    }
    return run_role("preflight", folder, *arguments, facts=_FACTS | (facts or {}), **given | variables)


def test_a_good_machine_passes_also_in_check_mode(tmp_path: Path) -> None:
    run = preflight(tmp_path, "--check", "--diff")

    assert run.status == 0, run.output
    assert run.changed == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["playbook.yml"]


@pytest.mark.parametrize(
    ("facts", "variables", "says"),
    [
        (
            {"distribution": "Fedora", "distribution_version": "42", "distribution_major_version": "42"},
            {},
            ["localhost is Fedora 42", "runs on Debian 12 and 13 and Ubuntu 22.04 and 24.04"],
        ),
        ({"distribution_version": "11.9", "distribution_major_version": "11"}, {}, ["is Debian 11.9"]),
        ({"architecture": "armv7l"}, {}, ["on armv7l", "x86_64 or aarch64"]),
        ({"service_mgr": "sysvinit"}, {}, ["sysvinit as its init", "with systemd"]),
        ({}, {"preflight_conda_python_version": "3.7"}, ["Python 3.7", "Set miniconda_python_version"]),
        ({}, {"preflight_model": "yolo9000"}, ["unknown model 'yolo9000'", "yolov3-tiny"]),
        ({}, {"preflight_system_memory_bytes": 10**15}, ["of memory; yolov3-tiny", "a smaller model (app_model)"]),
        ({}, {"preflight_environment_bytes": 10**15}, ["the app's environment and Miniconda", "enlarge the disk"]),
        ({}, {"_preflight_ansible": {"min": "2.16", "below": "2.17"}}, ["ansible-core 2."]),
    ],
    ids=["system", "release", "architecture", "init", "python", "model", "memory", "disk", "ansible"],
)
def test_a_bad_machine_is_told_what_to_do(tmp_path: Path, facts: dict, variables: dict, says: list[str]) -> None:
    run = preflight(tmp_path, facts=facts, **variables)

    assert run.status == 2, run.output
    for sentence in says:
        assert sentence in run.words


def test_a_machine_that_has_everything_is_not_asked_for_room_again(tmp_path: Path) -> None:
    (tmp_path / "root" / "current").mkdir(parents=True)
    (tmp_path / "conda" / "bin").mkdir(parents=True)
    (tmp_path / "conda" / "bin" / "conda").touch()
    (tmp_path / "models" / "yolov3-tiny").mkdir(parents=True)
    (tmp_path / "models" / "yolov3-tiny" / "yolov3-tiny-0.onnx").touch()

    run = preflight(
        tmp_path,
        preflight_environment_bytes=10**15,
        preflight_conda_bytes=10**15,
        preflight_system_memory_bytes=10**15,
    )

    assert run.status == 0, run.output


def test_a_folder_is_left_to_the_app_role(tmp_path: Path) -> None:
    run = preflight(tmp_path, preflight_model="/srv/mine", preflight_system_memory_bytes=10**15)

    assert run.status == 0, run.output
