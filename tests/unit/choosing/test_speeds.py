"""What was measured is known again where it fits, and nowhere else."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest

from barevision.choosing import speeds
from barevision.choosing.agreement import Agreement
from barevision.choosing.choice import Trial, choose
from barevision.choosing.speeds import Measurement, conditions, known_measurement, usual_plan, write_measurement
from barevision.engines import Plan
from barevision.engines.processor import Processor
from barevision.settings import load_settings

HERE = Processor("Xeon", frozenset({"avx2", "amx_bf16", "constant_tsc"}), 2)
TRIALS = [
    Trial(Plan("onnxruntime", "f32", 2, 2), 0.01, 100.5, 90_000_000, Agreement(6, 6, 0.0)),
    Trial(Plan("openvino", "f16", 2, 1), problem="not tried: others are much faster"),
]


def measurement(processor: Processor = HERE, **settings: object) -> Measurement:
    return Measurement(conditions(load_settings(**settings), processor), True, choose(TRIALS, 1, 1000), TRIALS)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return tmp_path / "mine-0123.onnx"


def test_what_was_measured_is_known_again(network: Path) -> None:
    assert known_measurement(network, load_settings(), HERE) is None
    assert write_measurement(network, measurement())
    assert known_measurement(network, load_settings(), HERE) == measurement()
    assert [path.name for path in network.parent.iterdir()] == ["mine-0123.speed.json"]


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        (replace(HERE, name="EPYC"), {}),
        (replace(HERE, flags=frozenset({"avx2"})), {}),
        (HERE, {"threads": 4}),
        (HERE, {"engine": "auto"}),
        (HERE, {"precision": "auto"}),
        (HERE, {"agreement": 0.97}),
    ],
)
def test_another_processor_other_cores_and_other_settings_are_not_known(
    network: Path, processor: Processor, settings: dict
) -> None:
    write_measurement(network, measurement())
    assert known_measurement(network, load_settings(**settings), processor) is None
    # Both are, once both were measured: a disk that moves between two machines.
    write_measurement(network, measurement(processor, **settings))
    assert known_measurement(network, load_settings(**settings), processor)
    assert known_measurement(network, load_settings(), HERE)


def test_a_service_that_may_write_its_cache_alone_notes_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tmp_path / "missing" / "mine-0123.onnx"
    assert not write_measurement(network, measurement())
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("CACHE_DIRECTORY", str(cache))
    assert write_measurement(network, measurement())
    assert [path.name for path in cache.iterdir()] == ["mine-0123.speed.json"]
    assert known_measurement(network, load_settings(), HERE) == measurement()


def test_what_was_measured_when_the_model_was_prepared_counts_more_than_the_services_cache(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(measurement(), thorough=False)
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    write_measurement(tmp_path / "cache" / network.name, quick)
    assert known_measurement(network, load_settings(), HERE) == quick
    write_measurement(network, measurement())
    assert known_measurement(network, load_settings(), HERE) == measurement()


def test_flags_that_say_nothing_of_speed_do_not_matter(network: Path) -> None:
    write_measurement(network, measurement())
    updated = replace(HERE, flags=HERE.flags | {"bus_lock_detect"})
    assert known_measurement(network, load_settings(), updated)


def test_another_version_of_an_engine_is_not_known(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_measurement(network, measurement())
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9" if name == "openvino" else real(name))
    assert known_measurement(network, load_settings(), HERE) is None


def test_what_was_chosen_by_another_rule_is_not_known(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_measurement(network, measurement())
    monkeypatch.setattr(speeds, "RULES_VERSION", 1000)
    assert known_measurement(network, load_settings(), HERE) is None


@pytest.mark.parametrize("text", ["", "{}", '[{"thorough": true}]', "\x00\x01", '{"onnxruntime": 0.01}'])
def test_a_damaged_file_counts_as_not_there(network: Path, text: str) -> None:
    network.with_suffix(".speed.json").write_text(text)
    assert known_measurement(network, load_settings(), HERE) is None
    assert write_measurement(network, measurement())
    assert known_measurement(network, load_settings(), HERE)


def test_a_choice_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not write_measurement(tmp_path / "file" / "mine-0123.onnx", measurement())


def test_only_the_latest_measurements_are_kept(network: Path) -> None:
    for cores in range(1, 12):
        write_measurement(network, measurement(threads=cores))
    assert known_measurement(network, load_settings(threads=11), HERE)
    assert known_measurement(network, load_settings(threads=4), HERE)
    assert known_measurement(network, load_settings(threads=3), HERE) is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"engine": "auto", "precision": "auto"}, Plan("onnxruntime", "f32", 1, 3)),
        ({"engine": "auto", "precision": "bf16"}, Plan("openvino", "bf16", 1, 3)),
        ({"engine": "openvino", "precision": "auto"}, Plan("openvino", "f32", 1, 3)),
    ],
)
def test_without_a_measurement_the_settings_decide(settings: dict, expected: Plan) -> None:
    assert usual_plan(load_settings(threads=3, **settings)) == expected
