"""What every engine does: it loads a network, answers as the others do, and says what went wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import pytest

from barevision.engines import ENGINES, EngineName, Plan, Precision, load_engine, onnx_runtime, open_vino
from barevision.engines.onnx_runtime import answer_shapes
from barevision.errors import EngineError
from tests.support.darknet_files import TINY_CFG, build
from tests.support.onnx_files import network, run, write_network


def blobs(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 1, 3, 32, 64), np.float32)


@pytest.mark.parametrize("name", ENGINES)
def test_a_network_is_loaded_with_its_input_and_answers(tmp_path: Path, name: EngineName) -> None:
    model = build(TINY_CFG)
    engine = load_engine(Plan(name), write_network(tmp_path / "tiny.onnx", model))
    assert engine.input_size == (32, 64)
    (blob,) = blobs(1)
    answer = engine.infer(blob)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, run(model, blob)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENGINES)
def test_threads_get_the_answers_for_their_own_images(tmp_path: Path, name: EngineName) -> None:
    engine = load_engine(Plan(name, streams=2), write_network(tmp_path / "tiny.onnx", build(TINY_CFG)))
    many = blobs(400)
    expected = [engine.infer(blob).copy() for blob in many]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(engine.infer, many))
    np.testing.assert_array_equal(answers, expected)


def test_openvino_answers_the_same_whether_streams_have_a_network_each_or_share_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, path = Plan("openvino", streams=2), write_network(tmp_path / "tiny.onnx", build(TINY_CFG))
    each = load_engine(plan, path)
    monkeypatch.setattr(open_vino, "_MOST_COPIED_BYTES", 2 * path.stat().st_size - 1)
    shared = load_engine(plan, path)
    assert each.plan.streams == shared.plan.streams == 2
    many = blobs(100)
    with ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(list(pool.map(each.infer, many)), list(pool.map(shared.infer, many)))


@pytest.mark.parametrize("name", ENGINES)
def test_a_file_that_is_not_a_network_is_an_error_that_names_it(tmp_path: Path, name: EngineName) -> None:
    path = tmp_path / "page.onnx"
    path.write_text("<!DOCTYPE html>")
    with pytest.raises(EngineError, match=re.escape(str(path))):
        load_engine(Plan(name), path)


@pytest.mark.parametrize("name", ENGINES)
def test_a_file_that_is_gone_is_an_error_that_names_it(tmp_path: Path, name: EngineName) -> None:
    path = tmp_path / "gone.onnx"
    with pytest.raises(EngineError, match=re.escape(str(path))):
        load_engine(Plan(name), path)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_computes_with_32_bits(tmp_path: Path, name: EngineName) -> None:
    path = write_network(tmp_path / "tiny.onnx", build(TINY_CFG))
    assert load_engine(Plan(name, "f32"), path).plan.precision == "f32"


@pytest.mark.parametrize("name", ["onnxruntime", "opencv"])
def test_only_openvino_computes_with_16_bits(tmp_path: Path, name: EngineName) -> None:
    path = write_network(tmp_path / "tiny.onnx", build(TINY_CFG))
    with pytest.raises(EngineError, match=f"{name} computes with f32, not with bf16; the engine openvino may"):
        load_engine(Plan(name, "bf16"), path)


@pytest.mark.parametrize(("precision", "capability"), [("bf16", "BF16"), ("f16", "FP16")])
def test_openvino_computes_nearly_the_same_with_half_the_bits_or_refuses(
    tmp_path: Path, precision: Precision, capability: str
) -> None:
    model = build(TINY_CFG)
    path = write_network(tmp_path / "tiny.onnx", model)
    (blob,) = blobs(1)
    if capability not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(EngineError, match=f"this processor can't compute with {precision}"):
            load_engine(Plan("openvino", precision), path)
        return
    engine = load_engine(Plan("openvino", precision), path)
    assert engine.plan.precision == precision
    answer, exact = engine.infer(blob), run(model, blob)[0]
    np.testing.assert_allclose(answer, exact, rtol=0.1, atol=0.1)
    assert not np.array_equal(answer, exact)


@pytest.mark.parametrize(
    ("plan", "threads"),
    [
        (Plan("onnxruntime", "f32", 1, 2), 2),
        (Plan("onnxruntime", "f32", 2, 2), 2),
        (Plan("openvino", "f32", 2, 1), 1),
        (Plan("openvino", "f32", 1, 2), 2),
        (Plan("opencv", "f32", 1, 2), 2),
    ],
)
def test_an_engine_says_how_it_really_runs(tmp_path: Path, plan: Plan, threads: int) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one core")
    engine = load_engine(plan, write_network(tmp_path / "tiny.onnx", build(TINY_CFG)))
    assert engine.plan == replace(plan, threads=threads)


def test_onnx_runtime_runs_no_more_at_once_than_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine(Plan("onnxruntime", streams=2), write_network(tmp_path / "tiny.onnx", build(TINY_CFG)))
    running, most = [], []

    def run_slowly(session: object, blob: np.ndarray) -> list[np.ndarray]:
        running.append(blob)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return [np.zeros((1, 1, 1), np.float32)]

    monkeypatch.setattr(onnx_runtime, "_run", run_slowly)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(engine.infer, blobs(12)))
    assert max(most) == 2


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_network_loaded_twice_gives_a_lone_inference_its_own_copy(tmp_path: Path, name: EngineName) -> None:
    path = write_network(tmp_path / "tiny.onnx", build(TINY_CFG))
    engine = load_engine(Plan(name, streams=2, threads=1, lone_threads=2), path)
    assert (engine.plan.streams, engine.plan.threads, engine.plan.lone_threads) == (2, 1, 2)
    many = blobs(100)
    expected = [load_engine(Plan(name), path).infer(blob) for blob in many[:1]]
    np.testing.assert_allclose(engine.infer(many[0]), expected[0], rtol=1e-4, atol=1e-5)
    used, crowd, alone = [], engine._crowd, engine._alone
    both_run = threading.Barrier(2)

    def noting(which: str) -> Callable[[np.ndarray], str]:
        def infer(blob: np.ndarray) -> str:
            used.append(which)
            if len(blob) > 1:
                both_run.wait()
            return which

        return infer

    crowd.infer, alone.infer = noting("crowd"), noting("alone")
    assert [engine.infer(blob) for blob in many[:3]] == ["alone"] * 3
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(engine.infer, [many, many])) == ["alone", "crowd"]
    assert engine.infer(many[0]) == "alone"


def test_importing_openvino_tells_nobody() -> None:
    code = "import sys, barevision.engines.open_vino; print([name for name in sys.modules if 'telemetry' in name])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_shapes_of_answers_are_found_by_running_the_network() -> None:
    data = network(np.zeros((7, 20))).SerializeToString()
    assert answer_shapes(data, np.zeros((1, 3, 64, 96), np.float32)) == [(1, 7, 20)]
    with pytest.raises(EngineError, match="can't run the network"):
        answer_shapes(data, np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(EngineError, match="can't load the network"):
        answer_shapes(b"<!DOCTYPE html>", np.zeros((1, 3, 64, 96), np.float32))
