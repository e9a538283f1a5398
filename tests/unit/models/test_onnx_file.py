"""ONNX files: what is read, and what is refused and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from barevision.detection.network_output import Head
from barevision.detector import load_detector
from barevision.errors import ModelError
from barevision.models import onnx_file
from barevision.models.catalogue import find_source
from barevision.models.onnx_file import read_onnx_file
from barevision.models.prepare import prepare
from barevision.settings import load_settings
from tests.support.darknet_files import TINY_CFG, build
from tests.support.onnx_files import METADATA, network, run, write_network

_ZEROS = np.zeros((7, 20))


@pytest.mark.parametrize(
    ("shape", "metadata", "form"),
    [
        ((7, 20), {}, "yolov8"),
        ((7, 8), {}, "yolov5"),
        ((20, 8), {}, "yolov5"),
        ((300, 6), {}, "end-to-end"),
        ((7, 6), {}, "end-to-end"),
        # One class: YOLOv5's rows have six numbers as well.
        ((20, 6), {"names": "['cat']", "task": ""}, "yolov5"),
        ((300, 6), {"names": "{0: 'cat'}"}, "end-to-end"),
        ((300, 6), {"names": "{0: 'cat'}", "task": "", "args": "{'nms': True}"}, "end-to-end"),
        ((300, 6), {"names": "{0: 'cat'}", "task": "", "end2end": "True"}, "end-to-end"),
        ((5, 20), {"names": "{0: 'cat'}"}, "yolov8"),
        ((6, 20), {"names": "{0: 'cat', 1: 'dog'}"}, "yolov8"),
    ],
)
def test_the_form_of_the_head_follows_from_shape_and_metadata(
    tmp_path: Path, shape: tuple[int, int], metadata: dict[str, str], form: str
) -> None:
    metadata = {key: value for key, value in {**METADATA, **metadata}.items() if value}
    path = write_network(tmp_path / "best.onnx", network(np.zeros(shape), metadata))
    assert read_onnx_file(path).head == Head(form, "letterbox")


def test_our_own_export_is_stretched_and_answers_as_the_network_it_was_made_of(tmp_path: Path) -> None:
    model = build(TINY_CFG, labels=["cat", "dog"])
    ours = read_onnx_file(write_network(tmp_path / "ours.onnx", model))
    assert ours.head == Head("relative", "stretch")
    assert ours.labels == ["cat", "dog"]
    blob = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
    np.testing.assert_array_equal(run(onnx.load_model_from_string(ours.data), blob), run(model, blob))


def conv_network(
    size: tuple[int | str, int | str] = ("height", "width"),
    batch: int | str = "batch",
    metadata: dict[str, str] = METADATA,
) -> onnx.ModelProto:
    """A network with a YOLOv8 head of one cell in 32 pixels, all of whose sides are open unless they are given."""
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, (7, 3, 32, 32), np.zeros(7 * 3 * 32 * 32))
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["cells"], strides=[32, 32]),
        helper.make_node("Shape", ["cells"], ["shape"]),
        helper.make_node("Slice", ["shape", "start", "end"], ["front"]),
        helper.make_node("Concat", ["front", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["cells", "target"], ["output0"]),
    ]
    numbers = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in {"start": 0, "rest": -1}.items()
    ]
    numbers.append(helper.make_tensor("end", TensorProto.INT64, [1], [2]))
    graph = helper.make_graph(
        nodes,
        "open",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (batch, 3, *size))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, (batch, 7, "boxes"))],
        [kernel, *numbers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model


@pytest.mark.parametrize(("suffix", "size"), [("", (64, 96)), ("@128x64", (64, 128)), ("@32", (32, 32))])
def test_open_sides_are_those_of_the_reference_or_of_the_metadata(
    tmp_path: Path, suffix: str, size: tuple[int, int], photo: np.ndarray
) -> None:
    path = write_network(tmp_path / "best.onnx", conv_network())
    detector = load_detector(load_settings(model=f"{path}{suffix}", models_dir=tmp_path / "models"))
    assert detector.engine.input_size == size
    assert detector.predict(photo) == []
    shape = onnx.load(detector.model.path).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in shape] == [1, 7, size[0] * size[1] // 32**2]


def refusal(path: Path, model: onnx.ModelProto) -> str:
    """The message with which `model`, written to `path`, is refused; nothing is left in the models directory."""
    models = path.parent / "models"
    with pytest.raises(ModelError) as raised:
        prepare(find_source(str(write_network(path, model))), models)
    assert not list(models.rglob("*.onnx"))
    return str(raised.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(network(_ZEROS, METADATA | {"task": "segment"}), "is a network for the task 'segment'", id="task"),
        pytest.param(network(np.zeros((1, 3)), METADATA | {"task": "classify"}), "the task 'classify'", id="classify"),
        pytest.param(network(_ZEROS, {}), "no names of classes", id="no names"),
        pytest.param(
            network(_ZEROS, METADATA | {"names": "__import__('os').abort()"}), "no names of classes", id="an expression"
        ),
        pytest.param(
            network(_ZEROS, METADATA | {"names": "{0: 'cat', 2: 'dog', 3: 'cow'}"}), "no names of classes", id="a gap"
        ),
        pytest.param(network(_ZEROS, METADATA | {"names": "(" * 100_000}), "no names of classes", id="deep"),
        pytest.param(
            network(_ZEROS, METADATA | {"names": str([str(n) for n in range(10_001)])}),
            "has 10001 classes, at most",
            id="many classes",
        ),
        pytest.param(
            network(_ZEROS, METADATA | {"names": "['cat']"}),
            "answers (1, 7, 20), which is not a form that is known for 1 classes",
            id="other form",
        ),
        pytest.param(network(_ZEROS, batch=4), "takes 4 images of 3 channels", id="batch"),
        pytest.param(conv_network(batch=4), "takes 4 images of 3 channels", id="batch with an open size"),
        pytest.param(network(_ZEROS, size=(64, 5000)), "takes images of 5000x64, at most 4096", id="wide"),
        pytest.param(
            network(_ZEROS, {"names": "['a', 'b', 'c']"}, size=("h", "w")), "say one (FILE.onnx@640)", id="open"
        ),
        pytest.param(
            conv_network(metadata=METADATA | {"imgsz": "16"}), "size open and does not run at 16x16", id="does not run"
        ),
    ],
)
def test_a_network_that_is_not_served_here_is_refused_with_the_reason(
    tmp_path: Path, model: onnx.ModelProto, words: str
) -> None:
    message = refusal(tmp_path / "best.onnx", model)
    assert message.startswith("best.onnx")
    assert words in message


def half_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def half_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_inside(model: onnx.ModelProto) -> None:
    """The same in a branch of a node."""
    inner = network(_ZEROS)
    external(inner)
    model.graph.node.append(helper.make_node("If", ["mean"], ["x"], then_branch=inner.graph, else_branch=inner.graph))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (half_input, "has an input that is not float32"),
        (half_output, "does not answer float32"),
        (lambda model: model.graph.output.append(model.graph.output[0]), "has 2 outputs, expected one"),
        (lambda model: model.graph.input.append(model.graph.output[0]), "has 2 inputs, expected one"),
        (lambda model: model.graph.output[0].type.tensor_type.shape.dim[2].Clear(), "answers (1, 7, ?), expected"),
        (lambda model: model.graph.node.pop(), "is damaged"),
        (external, "external data"),
        (external_inside, "external data"),
        (
            lambda model: model.graph.node.extend(
                helper.make_node("Relu", ["mean"], [f"x{number}"]) for number in range(20_001)
            ),
            "has more than 20000 nodes",
        ),
    ],
    ids=[
        "half input",
        "half output",
        "two outputs",
        "two inputs",
        "open output",
        "no end",
        "external",
        "external inside",
        "many nodes",
    ],
)
def test_a_graph_that_cannot_be_served_is_refused_with_the_reason(
    tmp_path: Path, edit: Callable[[onnx.ModelProto], object], words: str
) -> None:
    model = network(_ZEROS)
    edit(model)
    message = refusal(tmp_path / "best.onnx", model)
    assert message.startswith("best.onnx")
    assert words in message


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"<!DOCTYPE html><html>moved</html>",
        lambda data: data[: len(data) // 2],
        lambda data: data[::-1],
        lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
    ids=["empty", "a page", "half", "backwards", "a pointer"],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "best.onnx"
    path.write_bytes(change(network(np.zeros((7, 2000))).SerializeToString()))
    with pytest.raises(ModelError, match=r"best\.onnx"):
        prepare(find_source(str(path)), tmp_path / "models")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "_MAX_BYTES", 100)
    path = write_network(tmp_path / "best.onnx", network(_ZEROS))
    with pytest.raises(ModelError, match="at most 100 are allowed"):
        read_onnx_file(path)


def test_a_fixed_size_is_not_changed(tmp_path: Path) -> None:
    path = write_network(tmp_path / "best.onnx", network(_ZEROS))
    with pytest.raises(ModelError, match="takes images of 96x64 only, not of 640x640"):
        prepare(find_source(f"{path}@640"), tmp_path / "models")
    assert prepare(find_source(f"{path}@96x64"), tmp_path / "models").changed


def test_a_folder_with_one_onnx_file_is_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_network(folder / "best.onnx", network(_ZEROS))
    source = find_source(str(folder))
    assert source.name == "mine"
    prepared = prepare(source, tmp_path / "models")
    assert prepared.labels == ["cat", "dog", "cow"]
    assert not prepare(source, tmp_path / "models").changed
    write_network(folder / "other.onnx", network(_ZEROS))
    with pytest.raises(ModelError, match=r"exactly one \.onnx file, found best.onnx, other.onnx"):
        find_source(str(folder))


def test_a_changed_file_is_prepared_anew(tmp_path: Path) -> None:
    path = write_network(tmp_path / "best.onnx", network(np.zeros((7, 20))))
    first = prepare(find_source(str(path)), tmp_path / "models")
    write_network(path, network(np.zeros((20, 8))))
    second = prepare(find_source(str(path)), tmp_path / "models")
    assert second.changed
    assert second.path != first.path
    assert (first.head, second.head) == (Head("yolov8", "letterbox"), Head("yolov5", "letterbox"))
