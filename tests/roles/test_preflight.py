"""Preflight: each check's message names the bad value and the way out; check mode runs through all of them."""

from __future__ import annotations

import pytest

from tests.roles.ansible import run_on_hosts
from tests.roles.rendering import ROOT, Site, read_yaml

_HUGE = 10**15
_FACTS = {
    "distribution": "Debian",
    "distribution_version": "12.5",
    "distribution_major_version": "12",
    "architecture": "x86_64",
    "service_mgr": "systemd",
    "python": {"version": {"major": 3, "minor": 11, "micro": 2}},
}
#: What some machines here hold otherwise than the role, to look like one with another Ansible.
_BOUNDS = ("_preflight_ansible",)
#: Machines by name: what differs from a good one, and what they must be told. Nothing: they pass.
_MACHINES: dict[str, tuple[dict, dict, list[str]]] = {
    "good": ({}, {}, []),
    "trixie": ({"distribution_version": "13.1", "distribution_major_version": "13"}, {}, []),
    "jammy": ({"distribution": "Ubuntu", "distribution_version": "22.04"}, {}, []),
    "fedora": (
        {"distribution": "Fedora", "distribution_version": "42", "distribution_major_version": "42"},
        {},
        ["fedora is Fedora 42", "runs on Debian 12 and 13 and Ubuntu 22.04 and 24.04"],
    ),
    "bullseye": ({"distribution_version": "11.9", "distribution_major_version": "11"}, {}, ["is Debian 11.9"]),
    "arm64": ({"architecture": "aarch64"}, {}, []),
    "arm": ({"architecture": "armv7l"}, {}, ["on armv7l", "x86_64 or aarch64"]),
    "sysv": ({"service_mgr": "sysvinit"}, {}, ["sysvinit as its init", "with systemd"]),
    "conda-old": ({}, {"preflight_conda_python_version": "3.7"}, ["Python 3.7", "Set miniconda_python_version"]),
    "venv-old": (
        {
            "distribution": "Ubuntu",
            "distribution_version": "22.04",
            "python": {"version": {"major": 3, "minor": 10, "micro": 12}},
        },
        {"preflight_environment": "venv"},
        ["Python 3.10 (Ubuntu 22.04's own)", "needs 3.11 or later", "Set app_environment: conda"],
    ),
    "venv": ({}, {"preflight_environment": "venv"}, []),
    "proxy": ({}, {"preflight_proxy": "http://clerk:s%40cret@proxy.example:3128/"}, []),
    "proxy-address": ({}, {"preflight_proxy": "http://[2001:db8::1]:3128"}, []),
    "proxy-unset": ({}, {"preflight_proxy": None}, []),
    "proxy-bare": ({}, {"preflight_proxy": "proxy.example:3128"}, ["is proxy.example:3128, expected http://HOST:PORT"]),
    "proxy-secret": (
        {},
        {"preflight_proxy": "http://clerk:s@cret@proxy.example:3128"},
        ["is ...@proxy.example:3128, expected", "%40 for @"],
    ),
    "proxy-socks": ({}, {"preflight_proxy": "socks5://proxy.example:1080"}, ["by https or SOCKS are not possible"]),
    "proxy-https": ({}, {"preflight_proxy": "https://proxy.example"}, ["by https or SOCKS are not possible"]),
    "misspelt": ({}, {"preflight_model": "yolo9000"}, ["unknown model 'yolo9000'", "yolov3-tiny"]),
    "unverified": ({}, {"preflight_model": "yolov4-csp"}, ["Set app_model_sha256", "yolov4-csp must have"]),
    "sized": ({}, {"preflight_model": "yolov3-tiny@608"}, []),
    "missized": ({}, {"preflight_model": "yolov3-tiny@big"}, ["'big' in 'yolov3-tiny@big' is not a size"]),
    "address": ({}, {"preflight_model": "https://example.org/best.onnx"}, ["Set app_model_sha256"]),
    "address-hash": (
        {},
        {"preflight_model": "https://example.org/best.onnx", "preflight_model_sha256": "0" * 64},
        [],
    ),
    "hash-in-name": ({}, {"preflight_model": f"https://example.org/best.onnx#sha256={'0' * 64}"}, []),
    "not-a-hash": ({}, {"preflight_model_sha256": "abc"}, ["'abc' is not a sha256"]),
    "here": (
        {},
        {"preflight_model": str(ROOT / "app/barevision/models/roadsigns/"), "preflight_system_memory_bytes": _HUGE},
        ["of memory"],
    ),
    "small": (
        {},
        {"preflight_system_memory_bytes": _HUGE},
        ["of memory; yolov3-tiny", "smaller pictures (app_max_pixels)"],
    ),
    "full": (
        {},
        {"preflight_environment_bytes": _HUGE},
        ["the app's environment and Miniconda", "enlarge the disk", "909.49 TB"],
    ),
    "future": ({}, {"preflight_ansible": {"min": "2.16", "below": "2.17"}}, ["and below 2.17", "requirements.txt"]),
    "conda-there": (
        {},
        {"preflight_environment_bytes": _HUGE, "preflight_conda_bytes": _HUGE},
        ["; the app's environment and the model need"],
    ),
    # A machine that carries a deployment has the room.
    "finished": (
        {},
        {"preflight_environment_bytes": _HUGE, "preflight_conda_bytes": _HUGE, "preflight_system_memory_bytes": _HUGE},
        [],
    ),
    "finished-misspelt": ({}, {"preflight_model": "yolo9000"}, ["unknown model 'yolo9000'", "yolov3-tiny"]),
    "finished-missized": ({}, {"preflight_model": "yolov3-tiny@big"}, ["'big' in 'yolov3-tiny@big' is not a size"]),
    "finished-unverified": ({}, {"preflight_model": "yolov4-csp"}, ["Set app_model_sha256"]),
    "finished-here-with-hash": (
        {},
        {"preflight_model": str(ROOT / "app/barevision/models/roadsigns"), "preflight_model_sha256": "0" * 64},
        ["a sha256 is for models that are downloaded", f"app_model_sha256 {'0' * 64}"],
    ),
    # It was pulled on the machine, by hand.
    "finished-pulled": ({}, {"preflight_model": "pulled@64"}, []),
    "finished-pulled-address": ({}, {"preflight_model": "https://example.org/pulled.onnx"}, []),
    "other-repository": ({}, {"preflight_model": "yolo9000", "preflight_repository": "https://example.org/git"}, []),
    # The size of a folder is known on the machine only, where the app role asks for it. Here, the machine is this one.
    "own-model": (
        {},
        {"preflight_model": "/srv/mine", "preflight_system_memory_bytes": _HUGE},
        ["nothing at this path"],
    ),
    "own-model-at-home": ({}, {"preflight_model": "~/no-such-model", "preflight_system_memory_bytes": _HUGE}, []),
    "own-model-with-hash": (
        {},
        {"preflight_model": "~/no-such-model", "preflight_model_sha256": "0" * 64},
        ["has no sha256"],
    ),
    "relative": (
        {},
        {"preflight_model": "./no-such-model"},
        ["nothing of that name on this computer", "absolute path"],
    ),
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a dry run said of each machine that failed, in one line; all machines in one run."""
    folder = tmp_path_factory.mktemp("preflight")
    hosts = {}
    for name, (facts, variables, _) in _MACHINES.items():
        place = folder / name
        place.mkdir()
        hosts[name] = {
            "facts": _FACTS | facts,
            "preflight_environment": "conda",
            "preflight_conda_prefix": str(place / "conda"),
            "preflight_conda_python_version": "3.12",
            "preflight_root": str(place / "root"),
            "preflight_models_dir": str(place / "models"),
            "preflight_model": "yolov3-tiny",
            "preflight_model_sha256": "",
            "preflight_repository": "",
            "preflight_max_pixels": 50_000_000,
            "preflight_environment_bytes": 1,
            "preflight_conda_bytes": 1,
            "preflight_system_memory_bytes": 1,
            "preflight_proxy": "",
            **{name.strip("_"): read_yaml("roles/preflight/vars/main.yml")[name] for name in _BOUNDS},
            **variables,
        }
    for name in _MACHINES:
        if name.startswith("finished"):
            (folder / name / "root" / "current").mkdir(parents=True)
        if name.startswith("finished-pulled"):
            (folder / name / "models" / "pulled").mkdir(parents=True)
            (folder / name / "models" / "pulled" / "source.json").touch()
    (folder / "conda-there" / "conda").mkdir()

    tasks = [
        {"ansible.builtin.set_fact": {name: f"{{{{ facts.{name} }}}}" for name in _FACTS} | {"cacheable": True}},
        {
            "ansible.builtin.import_role": {"name": "preflight"},
            "vars": {name: f"{{{{ {name.strip('_')} }}}}" for name in _BOUNDS},
        },
    ]
    runs = run_on_hosts(folder, hosts, tasks, "--check", "--diff")
    assert {run.changed for run in runs.values()} == {0}
    return {name: run.failure for name, run in runs.items()}


@pytest.mark.parametrize("machine", _MACHINES)
def test_a_machine_passes_or_is_told_what_to_do(checked: dict[str, str], machine: str) -> None:
    expected = _MACHINES[machine][2]

    assert bool(checked[machine]) == bool(expected), checked[machine]
    for sentence in expected:
        assert sentence in checked[machine]
    assert "cret" not in checked[machine]


_EPYC = {"architecture": "x86_64", "processor": ["0", "AuthenticAMD", "AMD EPYC 9B45", "1"]}
_XEON = {"architecture": "x86_64", "processor": ["0", "GenuineIntel", "Intel(R) Xeon(R) CPU @ 2.20GHz", "1"]}
#: Processors by name: the facts of one, and what is said of it.
_PROCESSORS: dict[str, tuple[dict, str]] = {
    "AMX": (
        _XEON | {"flags": ["avx2", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile", "amx_int8"]},
        "2.20GHz, fast with bf16: amx_bf16; fast with int8: amx_int8, avx512_vnni",
    ),
    "VNNI": (
        _XEON | {"flags": ["avx2", "avx512_vnni", "avx512_bf16"]},
        "2.20GHz, fast with bf16: no; fast with int8: avx512_vnni",
    ),
    "AMD's bf16": (
        _EPYC | {"flags": ["avx2", "avx512_vnni", "avx512_bf16", "avx_vnni"]},
        "AMD EPYC 9B45, fast with bf16: avx512_bf16; fast with int8: avx512_vnni, avx_vnni",
    ),
    "neither": (_XEON | {"flags": ["avx2"]}, "Intel(R) Xeon(R) CPU @ 2.20GHz, fast with bf16: no; fast with int8: no"),
    "no flags": ({"architecture": "x86_64", "processor": []}, "a processor without a name, fast with bf16: no"),
    "arm64": (
        {"architecture": "aarch64", "processor": ["0", "1"]},
        "an arm64 processor, on which bf16 and int8 were not",
    ),
}


@pytest.mark.parametrize("processor", _PROCESSORS)
def test_what_a_processor_brings_is_said(processor: str) -> None:
    facts, expected = _PROCESSORS[processor]

    assert expected in Site(facts).value("_preflight_processor")
