"""Quantizing: a real one of a small network, what stays in floating point, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper

from barevision import quantizing
from barevision.detector import load_detector
from barevision.engines import Plan, load_engine
from barevision.errors import EngineError, ModelError, QuantizingError
from barevision.models.onnx_graph import decoding_nodes
from barevision.pictures.decode import encode_image
from barevision.settings import load_settings
from tests.support.command_line import run
from tests.support.darknet_files import write_model
from tests.support.onnx_files import network, write_network

_needs_packages = pytest.mark.skipif(
    not quantizing.importlib.util.find_spec("nncf"), reason="the extra 'quantize' is not installed"
)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of eight drawn pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(8):
        image = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        (folder / f"{number}.png").write_bytes(encode_image(image, ".png"))
    return folder


def quantized(tmp_path: Path, pictures: Path, *options: object) -> Result:
    """`barevision models quantize` of a small Darknet network into the folder "small"."""
    model = write_model(tmp_path / "net")
    options = ("--calibration", pictures, "--models-dir", tmp_path / "models", "--output", tmp_path / "small", *options)
    return run("models", "quantize", model, *options)


@_needs_packages
def test_a_network_computes_with_8_bits_but_for_its_decoding(tmp_path: Path, pictures: Path) -> None:
    result = quantized(tmp_path, pictures, "--json")
    assert result.exit_code == 0, result.stderr
    assert "6 pictures to calibrate with are few" in result.stderr
    report = json.loads(result.stdout)
    assert (report["adopted"], report["calibrated"], report["measured"]) == (True, 6, 2)
    assert report == json.loads((tmp_path / "small" / "report.json").read_text())

    graph = onnx.load(tmp_path / "small" / "small.onnx").graph
    decoding, last = decoding_nodes(graph)
    assert {"Sigmoid", "Exp"} <= {node.op_type for node in decoding}
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in decoding}
    # OpenVINO gets signed values wrong.
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"} == {TensorProto.UINT8}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    assert [makers[node.input[1]] for node in last] == ["DequantizeLinear"]

    for engine in ("openvino", "onnxruntime"):
        settings = load_settings(
            model=str(tmp_path / "small"), models_dir=tmp_path / "models", engine=engine, precision="int8"
        )
        detector = load_detector(settings)
        assert (detector.engine.plan.precision, detector.model.labels) == ("int8", ["cat", "dog"])
        assert "finite" in detector.check()


@_needs_packages
def test_what_answers_too_differently_is_refused_and_leaves_nothing(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "_WAYS", quantizing._WAYS[:2])
    result = quantized(tmp_path, pictures, "--min-matched", "101")
    assert result.exit_code == 1
    assert "of boxes are matched, expected are 101.0%. 2 ways were tried" in result.stderr
    assert not list(tmp_path.glob("*small*"))


@_needs_packages
def test_an_interruption_leaves_nothing_half_written(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quantizing, "put_in_place", interrupt)
    assert quantized(tmp_path, pictures).exit_code == 1
    assert not [path for path in tmp_path.iterdir() if "small" in path.name]


@_needs_packages
def test_a_damaged_file_is_named(tmp_path: Path, pictures: Path) -> None:
    assert quantized(tmp_path, pictures).exit_code == 0
    path = tmp_path / "small" / "small.onnx"
    path.write_bytes(path.read_bytes().replace(b'"form": "relative"', b'"form": "relatiVe"'))
    with pytest.raises(ModelError, match=r"small.onnx answers .* to which barevision_head in its metadata"):
        load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelError, match=r"small.onnx is not an ONNX file, or is damaged or cut short"):
        load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))


@_needs_packages
def test_quantizing_tells_nobody(tmp_path: Path, pictures: Path) -> None:
    """In a process of its own, with a module in place of the one that would report."""
    told = tmp_path / "told"
    (tmp_path / "openvino_telemetry.py").write_text(f"open({str(told)!r}, 'w'); Telemetry = None")
    model = write_model(tmp_path / "net")
    command = [sys.executable, "-m", "barevision", "models", "quantize", model, "--calibration", pictures]
    command += ["--models-dir", tmp_path / "models", "--output", tmp_path / "small"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert (tmp_path / "small").is_dir()
    assert not told.exists()


@_needs_packages
def test_sensitive_layers_are_not_looked_for_for_ever(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "_FINDING_SECONDS", -1)
    monkeypatch.setattr(quantizing, "_objection", lambda *_: "not good enough")
    result = quantized(tmp_path, pictures)
    assert result.exit_code == 1
    assert "given up: finding sensitive layers takes longer" in result.stderr
    assert "net was not quantized: not good enough. 2 ways were tried" in result.stderr
    assert not (tmp_path / "small").exists()


def test_a_network_that_is_not_quantized_cannot_be_asked_for_8_bits(tmp_path: Path) -> None:
    path = write_network(tmp_path / "a.onnx", network(np.zeros((7, 20))))
    for engine in ("openvino", "onnxruntime", "opencv"):
        with pytest.raises(EngineError, match=r"not quantized \('barevision models quantize'"):
            load_engine(Plan(engine, "int8"), path)


def test_the_missing_packages_are_named(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizing.importlib.util, "find_spec", lambda _: None)
    result = quantized(tmp_path, pictures)
    assert result.exit_code == 1
    assert "nncf and pycocotools cannot be found here: pip install 'barevision[quantize]'" in result.stderr


def test_pictures_that_are_too_few_or_damaged_are_named(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "require_packages", lambda: None)
    (pictures / "3.png").write_bytes(b"no picture")
    assert f"{pictures / '3.png'} can't be read" in quantized(tmp_path, pictures).stderr
    for number in range(2, 8):
        (pictures / f"{number}.png").unlink()
    assert "has 2 pictures, too few to keep some apart" in quantized(tmp_path, pictures).stderr
    (tmp_path / "none").mkdir()
    assert "has no pictures" in quantized(tmp_path, tmp_path / "none").stderr


def test_what_ultralytics_decodes_with_is_no_last_convolution() -> None:
    kernel = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "kernel")
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["last"]),
        helper.make_node("Softmax", ["last"], ["shares"], axis=3),
        helper.make_node("Transpose", ["shares"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("Conv", ["turned", "kernel"], ["mean"]),
        helper.make_node("Sigmoid", ["mean"], ["answer"]),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 1, 8, 8))
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, (1, 1, 8, 8))
    decoding, last = decoding_nodes(helper.make_graph(nodes, "dfl", [image], [answer], [kernel]))
    assert [node.output[0] for node in last] == ["last"]
    assert {node.output[0] for node in decoding} == {"shares", "turned", "mean", "answer"}


def test_a_quantized_model_is_not_quantized_again(tmp_path: Path) -> None:
    graph = onnx.ModelProto()
    graph.graph.node.append(helper.make_node("QuantizeLinear", ["a", "b", "c"], ["d"]))
    with pytest.raises(QuantizingError, match="is quantized already"):
        quantizing._readable(graph, load_detector(load_settings(models_dir=tmp_path)).model)
