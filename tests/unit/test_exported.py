"""ONNX files: what is read, what is refused and why, and that boxes come out where they are on the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from barevision.darknet.config import parse_config
from barevision.darknet.graph import build_model
from barevision.detection.network_input import of_picture, to_blob
from barevision.detection.network_output import Head
from barevision.detection.selection import Detection, clip
from barevision.detector import load_detector
from barevision.engines import ENGINES
from barevision.errors import ModelError, WrongAnswerError
from barevision.models import onnx_file
from barevision.models.catalogue import find_source
from barevision.models.onnx_file import read_onnx_file
from barevision.models.prepare import prepare
from barevision.settings import load_settings
from tests.support.darknet_files import TINY_CFG, RandomWeights
from tests.support.onnx_files import METADATA, network, write_network

# A picture of 120x160 (height, width) in an input of 64x96: scaled by 8/15 to 64x85, 11/2 columns of grey at the left.
_GAIN, _LEFT = 8 / 15, 5
#: (left, top, width, height) on the picture, class, score.
_OBJECTS = [((30, 15, 60, 45), 1, 0.9), ((90, 60, 45, 30), 2, 0.7)]


def answer_of(form: str) -> np.ndarray:
    """What a network with a head of `form` and three classes says of `_OBJECTS`, among rows that say nothing."""
    rows = np.zeros((20, 8), np.float32)
    for number, ((x, y, width, height), label, score) in enumerate(_OBJECTS):
        centre = (x + width / 2) * _GAIN + _LEFT, (y + height / 2) * _GAIN
        rows[number * 7, :4] = *centre, width * _GAIN, height * _GAIN
        rows[number * 7, 4] = score / 0.95
        rows[number * 7, 5 + label] = 0.95
    if form == "yolov5":
        return rows
    scores = rows[:, 5:] * rows[:, 4:5]
    if form == "yolov8":
        return np.concatenate([rows[:, :4], scores], axis=1).T
    corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1)
    return np.column_stack([corners, scores.max(axis=1), scores.argmax(axis=1)])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["yolov5", "yolov8", "end-to-end"])
def test_boxes_of_every_head_are_where_they_are_on_the_picture(
    tmp_path: Path, photo: np.ndarray, form: str, engine: str
) -> None:
    path = write_network(tmp_path / "best.onnx", network(answer_of(form)))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models", engine=engine))
    assert detector.model.head == Head(form, "letterbox")
    assert "finite" in detector.check()

    found = detector.predict(photo)
    assert [item["label"] for item in found] == ["dog", "cow"]
    for item, (box, _, score) in zip(found, _OBJECTS, strict=True):
        assert item["confidence"] == pytest.approx(score, abs=1e-5)
        # Cut to whole pixels as in the tutorial: the centre, then the corner.
        assert np.abs(np.subtract(item["boxes"], box)).max() <= 2


def test_boxes_that_the_network_chose_itself_are_not_chosen_from_again(tmp_path: Path, photo: np.ndarray) -> None:
    twice = np.tile([10, 10, 50, 50, 0.9, 0], (3, 1))
    path = write_network(tmp_path / "best.onnx", network(twice))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    assert len(detector.predict(photo, detector.selection(nms=0.1))) == 3


def test_a_chosen_class_that_there_is_not_is_left_out_and_nan_is_found_out(tmp_path: Path, photo: np.ndarray) -> None:
    rows = np.array([[10, 10, 50, 50, 0.9, number] for number in (-1, 0, 2, 3, 7)])
    path = write_network(tmp_path / "best.onnx", network(rows))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    assert [item["label"] for item in detector.predict(photo)] == ["cat", "cow"]

    path = write_network(tmp_path / "nan.onnx", network(np.full((5, 6), np.nan)))
    detector = load_detector(load_settings(model=str(path), models_dir=tmp_path / "models"))
    with pytest.raises(WrongAnswerError, match="NaN"):
        detector.predict(photo)


def test_letterboxed_pictures_are_scaled_and_framed_in_grey() -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[..., 2] = 255
    blob = to_blob(picture, (64, 96), "letterbox")
    assert blob.shape == (1, 3, 64, 96)
    np.testing.assert_allclose(
        blob[0, :, :, _LEFT : _LEFT + 85], np.array([1, 0, 0])[:, None, None] * np.ones((64, 85))
    )
    for frame in (blob[0, :, :, :_LEFT], blob[0, :, :, _LEFT + 85 :]):
        np.testing.assert_allclose(frame, np.full_like(frame, 114 / 255))
    assert to_blob(np.zeros((1, 4096, 3), np.uint8), (64, 96), "letterbox").shape == (1, 3, 64, 96)


def test_a_stretched_picture_needs_no_mapping_back() -> None:
    rows = np.random.default_rng(0).random((4, 7), np.float32)
    assert of_picture(rows, (120, 160), (64, 96), "stretch") is rows


def test_clipped_boxes_end_with_the_picture() -> None:
    assert clip(Detection(0, 0.5, (-5, 10, 20, 200)), (120, 160)).box == (0, 10, 15, 110)
    assert clip(Detection(0, 0.5, (10, 20, 30, 40)), (120, 160)).box == (10, 20, 30, 40)
    assert clip(Detection(0, 0.5, (170, 20, 30, 40)), (120, 160)).box == (160, 20, 0, 40)


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
def test_the_form_of_the_head_is_told_from_shape_and_metadata(
    tmp_path: Path, shape: tuple[int, int], metadata: dict[str, str], form: str
) -> None:
    given = {key: value for key, value in {**METADATA, **metadata}.items() if value}
    path = write_network(tmp_path / "best.onnx", network(np.zeros(shape), given))
    assert read_onnx_file(path).head == Head(form, "letterbox")


def test_our_own_export_is_stretched_and_answers_as_the_network_it_was_made_of(tmp_path: Path) -> None:
    model = build_model(parse_config(TINY_CFG, "a.cfg"), RandomWeights(), ["cat", "dog"])
    found = read_onnx_file(write_network(tmp_path / "ours.onnx", model))
    assert found.head == Head("relative", "stretch")
    assert found.labels == ["cat", "dog"]


def conv_network(
    size: tuple[int | str, int | str] = ("height", "width"), batch: int | str = "batch"
) -> onnx.ModelProto:
    """A network with a YOLOv8 head of one cell in 32 pixels, all of whose sides are open."""
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
    helper.set_model_props(model, METADATA)
    return model


@pytest.mark.parametrize(("asked", "size"), [("", (64, 96)), ("@128x64", (64, 128)), ("@32", (32, 32))])
def test_open_sides_are_fixed_as_asked_or_as_the_metadata_says(
    tmp_path: Path, asked: str, size: tuple[int, int], photo: np.ndarray
) -> None:
    path = write_network(tmp_path / "best.onnx", conv_network())
    detector = load_detector(load_settings(model=f"{path}{asked}", models_dir=tmp_path / "models"))
    assert detector.engine.input_size == size
    assert detector.predict(photo) == []
    shape = onnx.load(detector.model.path).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in shape] == [1, 7, size[0] * size[1] // 32**2]


def change(edit: Callable[[onnx.ModelProto], object]) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def changed(model: onnx.ModelProto) -> onnx.ModelProto:
        edit(model)
        return model

    return changed


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_inside(model: onnx.ModelProto) -> None:
    """The same in a branch of a node."""
    inner = network(np.zeros((7, 20)))
    external(inner)
    model.graph.node.append(helper.make_node("If", ["mean"], ["x"], then_branch=inner.graph, else_branch=inner.graph))


def many_nodes(model: onnx.ModelProto) -> None:
    model.graph.node.extend(helper.make_node("Relu", ["mean"], [f"x{number}"]) for number in range(20_001))


_ZEROS = np.zeros((7, 20))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(network(_ZEROS, METADATA | {"task": "segment"}), "task 'segment'; only detection", id="segment"),
        pytest.param(network(_ZEROS, METADATA | {"task": "pose"}), "task 'pose'", id="pose"),
        pytest.param(network(_ZEROS, METADATA | {"task": "obb"}), "task 'obb'", id="obb"),
        pytest.param(network(np.zeros((1, 3)), METADATA | {"task": "classify"}), "task 'classify'", id="classify"),
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
            "10001 classes, at most",
            id="many classes",
        ),
        pytest.param(
            network(_ZEROS, METADATA | {"names": "['cat']"}),
            r"answers \(1, 7, 20\), which is not a form that is known for 1 classes",
            id="other form",
        ),
        pytest.param(network(_ZEROS, batch=4), "takes 4 images of 3 channels.*batch=1", id="batch"),
        pytest.param(network(_ZEROS, size=(64, 5000)), "takes images of 5000x64, at most 4096", id="wide"),
        pytest.param(
            network(_ZEROS, {"names": "['a', 'b', 'c']"}, size=("h", "w")), r"say one \(FILE.onnx@640\)", id="open"
        ),
        pytest.param(
            change(lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 10))(network(_ZEROS)),
            "half",
            id="half in",
        ),
        pytest.param(
            change(lambda m: m.graph.output[0].type.tensor_type.__setattr__("elem_type", 10))(network(_ZEROS)),
            "half",
            id="half out",
        ),
        pytest.param(
            change(lambda m: m.graph.output.append(m.graph.output[0]))(network(_ZEROS)),
            "2 outputs, expected one",
            id="two outputs",
        ),
        pytest.param(
            change(lambda m: m.graph.input.append(m.graph.output[0]))(network(_ZEROS)),
            "2 inputs, expected one",
            id="two inputs",
        ),
        pytest.param(
            change(lambda m: m.graph.output[0].type.tensor_type.shape.dim[2].Clear())(network(_ZEROS)),
            "dynamic=False",
            id="open answer",
        ),
        pytest.param(change(lambda m: m.graph.node.pop())(network(_ZEROS)), "is damaged", id="no end"),
        pytest.param(change(external)(network(_ZEROS)), "external data", id="external"),
        pytest.param(change(external_inside)(network(_ZEROS)), "external data", id="external inside"),
        pytest.param(change(many_nodes)(network(_ZEROS)), "more than 20000 nodes", id="many nodes"),
    ],
)
def test_what_is_no_detector_of_ours_is_refused_with_the_reason(
    tmp_path: Path, model: onnx.ModelProto, words: str
) -> None:
    path = write_network(tmp_path / "best.onnx", model)
    with pytest.raises(ModelError, match=words) as raised:
        prepare(find_source(str(path)), tmp_path / "models")
    assert str(raised.value).startswith("best.onnx")
    assert not list((tmp_path / "models").rglob("*.onnx"))


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


def test_a_folder_with_one_onnx_file_is_a_model_with_its_golden_image(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_network(folder / "best.onnx", network(answer_of("yolov8")))
    source = find_source(str(folder))
    assert source.name == "mine"
    prepared = prepare(source, tmp_path / "models")
    assert prepared.labels == ["cat", "dog", "cow"]
    assert not prepare(source, tmp_path / "models").changed
    write_network(folder / "other.onnx", network(_ZEROS))
    with pytest.raises(ModelError, match=r"exactly one \.onnx file, found best.onnx, other.onnx"):
        find_source(str(folder))


def test_a_changed_file_is_prepared_anew(tmp_path: Path) -> None:
    path = write_network(tmp_path / "best.onnx", network(answer_of("yolov8")))
    first = prepare(find_source(str(path)), tmp_path / "models")
    write_network(path, network(answer_of("yolov5")))
    second = prepare(find_source(str(path)), tmp_path / "models")
    assert second.changed
    assert (first.path != second.path, second.head.form) == (True, "yolov5")
    assert replace(second.head, form="yolov8") == first.head
