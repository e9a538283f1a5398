"""ONNX files: what is read, and what is refused and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from barevision.detection.network_output import Head
from barevision.detector import load_detector
from barevision.errors import ModelError
from barevision.models import onnx_file
from barevision.models.catalogue import find_source
from barevision.models.onnx_file import read_onnx_file
from barevision.models.prepare import prepare
from barevision.settings import load_settings
from tests.support.darknet_files import TINY_CFG, build
from tests.support.onnx_files import METADATA, network, run, square_finder, write_network

_ZEROS = np.zeros((7, 20))


@pytest.mark.parametrize(
    ("shape", "metadata", "form"),
    [
        ((7, 20), {}, "yolov8"),
        ((7, 20), {"head": "Detect", "end2end": "False"}, "yolov8"),
        # YOLOv5's exporter names no task, Ultralytics' does.
        ((7, 8), {}, "yolov8"),
        ((7, 8), {"task": ""}, "yolov5"),
        ((20, 8), {"task": ""}, "yolov5"),
        ((300, 6), {"end2end": "True"}, "end-to-end"),
        ((300, 6), {"args": "{'nms': True}"}, "end-to-end"),
        ((300, 6), {"args": "{'nms': True}", "end2end": "False"}, "end-to-end"),
        ((300, 6), {"description": "Ultralytics YOLOv10n model trained on coco.yaml"}, "end-to-end"),
        # With one class, YOLOv5's rows have six numbers as well, and with two YOLOv8's columns.
        ((20, 6), {"names": "['cat']", "task": ""}, "yolov5"),
        ((300, 6), {"names": "{0: 'cat'}", "end2end": "True"}, "end-to-end"),
        ((5, 20), {"names": "{0: 'cat'}"}, "yolov8"),
        ((6, 20), {"names": "{0: 'cat', 1: 'dog'}"}, "yolov8"),
        ((6, 6), {"names": "{0: 'cat', 1: 'dog'}", "end2end": "True"}, "end-to-end"),
    ],
)
def test_the_form_of_the_head_follows_from_shape_and_metadata(
    tmp_path: Path, shape: tuple[int, int], metadata: dict[str, str], form: str
) -> None:
    path = write_network(tmp_path / "best.onnx", network(np.zeros(shape), said(metadata)))
    assert read_onnx_file(path).head == Head(form, "letterbox")


def said(changes: dict[str, str]) -> dict[str, str]:
    """`METADATA` with `changes`; what is empty is left out."""
    return {key: value for key, value in {**METADATA, **changes}.items() if value}


@pytest.mark.parametrize(
    ("shape", "metadata", "form"),
    [
        ((300, 6), {"head": "RTDETRDecoder", "end2end": "False"}, "rtdetr-chosen"),
        ((300, 6), {"description": "Ultralytics rt-detr-l model", "version": "8.4.47"}, "rtdetr-chosen"),
        ((300, 7), {"description": "Ultralytics rtdetr-x model"}, "rtdetr"),
        # Of two classes, a row with all scores is as long as one with the best of them and its class.
        ((300, 6), {"head": "RTDETRDecoder", "names": "['cat', 'dog']"}, "rtdetr-chosen"),
        ((300, 6), {"description": "RT-DETR", "names": "['cat', 'dog']", "version": "8.4.100"}, "rtdetr-chosen"),
        ((300, 6), {"description": "RT-DETR", "names": "['cat', 'dog']", "version": "8.4.46"}, "rtdetr"),
        ((300, 6), {"description": "RT-DETR", "names": "['cat', 'dog']"}, "rtdetr"),
    ],
)
def test_rtdetr_is_known_by_its_name_and_takes_a_stretched_image(
    tmp_path: Path, shape: tuple[int, int], metadata: dict[str, str], form: str
) -> None:
    path = write_network(tmp_path / "best.onnx", network(np.zeros(shape), said(metadata)))
    assert read_onnx_file(path).head == Head(form, "stretch")


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("yolox", Head("yolox", "yolox")),
        ("yolox-decoded", Head("yolov5", "yolox")),
        ("yolov7", Head("yolov5", "letterbox")),
        ("yolov7-and-heads", Head("yolov5", "letterbox")),
        ("yolov7-tensorrt", Head("yolov8", "letterbox")),
        ("yolov7-chosen", Head("yolov7-chosen", "letterbox")),
    ],
)
def test_exports_that_say_nothing_are_known_by_their_nodes(tmp_path: Path, kind: str, head: Head) -> None:
    names = tmp_path / "best.names"
    names.write_text("blue\nred\n")
    network = read_onnx_file(write_network(tmp_path / "best.onnx", square_finder(kind)), names=names)
    assert (network.head, network.labels) == (head, ["blue", "red"])


@pytest.mark.parametrize("kind", ["yolox", "yolov7", "yolov7-chosen"])
def test_another_number_of_names_than_of_classes_is_refused(tmp_path: Path, kind: str) -> None:
    names = tmp_path / "best.names"
    names.write_text("blue\nred\ngreen\n")
    with pytest.raises(ModelError, match=r"^best\.onnx .*best\.names has 3 names"):
        read_onnx_file(write_network(tmp_path / "best.onnx", square_finder(kind)), names=names)


@pytest.mark.parametrize(
    ("shape", "form"),
    # An input of 96x64 pixels has 126 cells of 8, 16 and 32 pixels, and 127 with those of 64.
    [((7, 126), "yolov8"), ((3 * 126, 8), "yolov5"), ((3 * 127, 8), "yolov5"), ((3 * 30, 8), "yolov5")],
)
def test_without_a_word_the_number_of_boxes_a_cell_counts(tmp_path: Path, shape: tuple[int, int], form: str) -> None:
    path = write_network(tmp_path / "best.onnx", network(np.zeros(shape), {"names": "['a', 'b', 'c']"}))
    assert read_onnx_file(path).head == Head(form, "letterbox")


@pytest.mark.parametrize(
    ("shape", "metadata"),
    [
        ((300, 6), {}),
        ((300, 6), {"head": "Detect", "end2end": "False", "args": "{'nms': False}"}),
        ((300, 6), {"task": "", "stride": ""}),
        ((7, 300), {"task": "", "stride": ""}),
        ((300, 8), {"task": "", "stride": ""}),
        # One box a cell, as YOLOX has them, but nothing that says whether they are decoded.
        ((126, 8), {"task": "", "stride": ""}),
        ((300, 9), {"head": "RTDETRDecoder"}),
    ],
)
def test_an_answer_that_nothing_claims_is_refused(
    tmp_path: Path, shape: tuple[int, int], metadata: dict[str, str]
) -> None:
    path = write_network(tmp_path / "best.onnx", network(np.zeros(shape), said(metadata)))
    with pytest.raises(ModelError, match=rf"answers \(1, {shape[0]}, {shape[1]}\), .*\(1, N, 6\)"):
        read_onnx_file(path)


def test_heads_without_their_anchors_are_refused_with_the_way_out(tmp_path: Path) -> None:
    message = refusal(tmp_path / "best.onnx", square_finder("yolov7-heads"))
    assert "answers its heads" in message
    assert "YOLOv7's export.py does with --grid" in message


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
            network(_ZEROS, METADATA | {"names": "__import__('os').abort()"}),
            "can't be read, \"__imp",
            id="an expression",
        ),
        pytest.param(
            network(_ZEROS, METADATA | {"names": "{0: 'cat', 2: 'dog', 3: 'cow'}"}), "can't be read, \"{0", id="a gap"
        ),
        pytest.param(network(_ZEROS, METADATA | {"names": "(" * 100_000}), "can't be read, '(((", id="deep"),
        pytest.param(
            network(_ZEROS, METADATA | {"names": str([str(n) for n in range(10_001)])}),
            "has 10001 classes, at most",
            id="many classes",
        ),
        pytest.param(
            network(_ZEROS, METADATA | {"names": "['cat']"}),
            "answers (1, 7, 20), and neither says in what form nor has one that is known for 1 classes",
            id="other form",
        ),
        pytest.param(network(_ZEROS, batch=4), "takes 4 images of 3 channels", id="batch"),
        pytest.param(conv_network(batch=4), "takes 4 images of 3 channels", id="batch with an open size"),
        pytest.param(network(_ZEROS, size=(64, 5000)), "takes images of 5000x64, at most 4096", id="wide"),
        pytest.param(
            network(_ZEROS, {"names": "['a', 'b', 'c']"}, size=("h", "w")), "say one (FILE.onnx@640)", id="open"
        ),
        pytest.param(
            conv_network(metadata=METADATA | {"imgsz": "16"}), "does not run at 16x16; ONNX Runtime", id="does not run"
        ),
    ],
)
def test_a_network_that_is_not_served_here_is_refused_with_the_reason(
    tmp_path: Path, model: onnx.ModelProto, words: str
) -> None:
    message = refusal(tmp_path / "best.onnx", model)
    assert message.startswith("best.onnx")
    assert words in message


def as_integers(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def value(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


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
        (as_integers, "has an input that is not float32 or float16"),
        (
            lambda model: model.graph.output.insert(0, value("mean", 1)),
            "answers mean (1,), output0 (1, 7, 20), expected",
        ),
        (lambda model: model.graph.input.append(model.graph.output[0]), "has 2 inputs, expected one"),
        (lambda model: model.graph.node.pop(), "is damaged: "),
        (lambda model: setattr(model.graph.node[0], "op_type", "Levitate"), "is damaged: "),
        (
            lambda model: model.graph.node[0].CopyFrom(helper.make_node("Add", ["nothing", "zero"], ["mean"])),
            "is damaged: ",
        ),
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
        "integers",
        "another output first",
        "two inputs",
        "no end",
        "an unknown node",
        "a circle",
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


def test_names_come_from_a_file_beside_where_the_network_has_none(tmp_path: Path) -> None:
    path = write_network(tmp_path / "mine" / "best.onnx", network(np.zeros((3 * 126, 8)), {}))
    with pytest.raises(ModelError, match=r"has no names of classes; write them into best\.names beside it, one a line"):
        prepare(find_source(str(path)), tmp_path / "models")
    names = path.with_suffix(".names")
    names.write_text("hen\npig\ncow\n")
    for model in (path, path.parent):
        assert prepare(find_source(str(model)), tmp_path / "models").labels == ["hen", "pig", "cow"]
    names.write_text("hen\npig\nram\n")
    assert prepare(find_source(str(path)), tmp_path / "models").labels == ["hen", "pig", "ram"]
    names.write_text("hen\npig\n")
    with pytest.raises(ModelError, match=r"known for 2 classes: .* and best\.names has 2 names"):
        prepare(find_source(str(path)), tmp_path / "models")


def test_the_networks_own_names_count(tmp_path: Path) -> None:
    path = write_network(tmp_path / "best.onnx", network(_ZEROS))
    path.with_suffix(".txt").write_text("not the names\n")
    assert prepare(find_source(str(path)), tmp_path / "models").labels == ["cat", "dog", "cow"]


@pytest.mark.parametrize("shape", [None, ("a", "b", "c"), (1, 7, "b"), (1, 3, 3)])
def test_the_shape_of_the_answer_is_what_the_network_answers(
    tmp_path: Path, shape: tuple[int | str, ...] | None
) -> None:
    model = network(_ZEROS)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape))
    prepared = prepare(find_source(str(write_network(tmp_path / "best.onnx", model))), tmp_path / "models")
    written = onnx.load(prepared.path).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in written] == [1, 7, 20]


def test_of_several_outputs_the_first_counts(tmp_path: Path) -> None:
    model = network(_ZEROS)
    model.graph.output.append(value("mean", 1))
    prepared = prepare(find_source(str(write_network(tmp_path / "best.onnx", model))), tmp_path / "models")
    assert [output.name for output in onnx.load(prepared.path).graph.output] == ["output0"]
    assert prepared.head == Head("yolov8", "letterbox")


def test_nodes_may_be_in_any_order_and_those_that_no_box_needs_are_left_out(tmp_path: Path) -> None:
    model = network(_ZEROS)
    inner = helper.make_graph([helper.make_node("Identity", ["nothing"], ["x"])], "inner", [], [value("x", 1)])
    model.graph.node[-1].input[1] = "chosen"
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    model.graph.node.append(helper.make_node("If", ["always"], ["chosen"], then_branch=inner, else_branch=inner))
    model.graph.node.append(helper.make_node("Relu", ["mean"], ["for nothing"]))
    nodes = [node.op_type for node in model.graph.node]
    assert nodes == ["ReduceMean", "Mul", "Add", "If", "Relu"]
    prepared = prepare(find_source(str(write_network(tmp_path / "best.onnx", model))), tmp_path / "models")
    assert [node.op_type for node in onnx.load(prepared.path).graph.node] == ["ReduceMean", "Mul", "If", "Add"]


def test_a_changed_file_is_prepared_anew(tmp_path: Path) -> None:
    path = write_network(tmp_path / "best.onnx", network(np.zeros((7, 20))))
    first = prepare(find_source(str(path)), tmp_path / "models")
    write_network(path, network(np.zeros((20, 8))))
    second = prepare(find_source(str(path)), tmp_path / "models")
    assert second.changed
    assert second.path != first.path
    assert (first.head, second.head) == (Head("yolov8", "letterbox"), Head("yolov5", "letterbox"))
