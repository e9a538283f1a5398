"""What every engine does: it loads a network, answers as the others do, and says what went wrong."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from barevision.engines import ENGINES, load_engine
from barevision.engines.onnx_runtime import answer_shapes
from barevision.errors import EngineError
from tests.support.darknet_files import TINY_CFG, build
from tests.support.onnx_files import network, run, write_network


def blobs(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 1, 3, 32, 64), np.float32)


@pytest.mark.parametrize("name", ENGINES)
def test_a_network_is_loaded_with_its_input_and_answers(tmp_path: Path, name: str) -> None:
    model = build(TINY_CFG)
    engine = load_engine(name, write_network(tmp_path / "tiny.onnx", model), threads=1)
    assert engine.input_size == (32, 64)
    (blob,) = blobs(1)
    answer = engine.infer(blob)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, run(model, blob)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENGINES)
def test_threads_get_the_answers_for_their_own_images(tmp_path: Path, name: str) -> None:
    engine = load_engine(name, write_network(tmp_path / "tiny.onnx", build(TINY_CFG)), threads=1)
    many = blobs(400)
    expected = [engine.infer(blob).copy() for blob in many]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(engine.infer, many))
    np.testing.assert_array_equal(answers, expected)


@pytest.mark.parametrize("name", ENGINES)
def test_a_file_that_is_not_a_network_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "page.onnx"
    path.write_text("<!DOCTYPE html>")
    with pytest.raises(EngineError, match=re.escape(str(path))):
        load_engine(name, path, threads=1)


def test_an_unknown_engine_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown engine 'torch', expected one of onnxruntime, opencv"):
        load_engine("torch", tmp_path / "tiny.onnx", threads=1)


def test_the_shapes_of_answers_are_found_by_running_the_network() -> None:
    data = network(np.zeros((7, 20))).SerializeToString()
    assert answer_shapes(data, np.zeros((1, 3, 64, 96), np.float32)) == [(1, 7, 20)]
    with pytest.raises(EngineError, match="can't run the network"):
        answer_shapes(data, np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(EngineError, match="can't load the network"):
        answer_shapes(b"<!DOCTYPE html>", np.zeros((1, 3, 64, 96), np.float32))
