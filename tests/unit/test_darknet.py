"""Reading .cfg and .weights, and the graph that comes of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from barevision.darknet.config import parse_config
from barevision.darknet.graph import build_model
from barevision.darknet.weights import Weights
from barevision.errors import DarknetError
from barevision.models.catalogue import find_source
from tests.support.darknet_files import TINY_CFG, RandomWeights, error_of, weights_for, write_model


def run(model: onnx.ModelProto, blob: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": blob})[0]


def outputs(model: onnx.ModelProto, op: str) -> list[str]:
    """The names of what the nodes of the kind `op` answer."""
    return [node.output[0] for node in model.graph.node if node.op_type == op]


def build(cfg: str, weights: object | None = None, **options: object) -> onnx.ModelProto:
    return build_model(parse_config(cfg, "a.cfg"), weights or RandomWeights(), **options)


@pytest.mark.parametrize(
    ("name", "parameters"),
    # The published sizes of the weights: (bytes - 20) / 4.
    [
        ("yolov3", 62_001_757),
        ("yolov3-tiny", 8_858_734),
        ("yolov3-spp", 63_052_381),
        ("yolov4", 64_429_405),
        ("yolov4-tiny", 6_062_814),
        ("yolov4-csp", 52_986_205),
        ("yolov2-tiny", 11_237_145),
    ],
)
def test_every_network_of_the_assets_is_read(assets: Path, tmp_path: Path, name: str, parameters: int) -> None:
    cfg = (assets / "models" / "cfg" / f"{name}.cfg").read_text()
    path = weights_for(cfg, tmp_path / f"{name}.weights")
    assert path.stat().st_size == 20 + 4 * parameters
    assert find_source(name).network.size in (path.stat().st_size, None)

    model = build(cfg, Weights(path), size=(96, 160))
    onnx.checker.check_model(model, full_check=True)
    rows = run(model, np.full((1, 3, 96, 160), 0.5, np.float32))

    strides = {"yolov2-tiny": (32,), "yolov3-tiny": (32, 16), "yolov4-tiny": (32, 16)}.get(name, (32, 16, 8))
    anchors = 5 if name == "yolov2-tiny" else 3
    assert rows.shape == (1, sum(anchors * (96 // stride) * (160 // stride) for stride in strides), 84)
    assert np.isfinite(rows).all()
    assert rows[..., 4:].min() >= 0
    assert rows[..., 4:].max() <= 1


def test_convolution_batch_norm_pooling_and_boxes_are_darknets() -> None:
    """The whole tiny network again in NumPy, written from Darknet's definitions."""
    weights = RandomWeights(seed=5)
    model = build(TINY_CFG, weights)
    biases, scales, means, variances, kernel, head_biases, head_kernel = weights.taken
    blob = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)

    feature = convolve(blob[0], kernel.reshape(8, 3, 3, 3), stride=2)
    feature = (feature - means[:, None, None]) / np.sqrt(variances[:, None, None] + 1e-6)
    feature = feature * scales[:, None, None] + biases[:, None, None]
    feature = np.where(feature > 0, feature, 0.1 * feature)
    # size 2, stride 2: one pixel of padding below and to the right, which an even side never reaches.
    feature = feature.reshape(8, 8, 2, 16, 2).max(axis=(2, 4))
    raw = np.einsum("oc,chw->ohw", head_kernel.reshape(14, 8), feature) + head_biases[:, None, None]

    expected = []
    for y in range(8):
        for x in range(16):
            for number, anchor in enumerate([(4, 6), (10, 12)]):
                t = raw[number * 7 : number * 7 + 7, y, x]
                centre = ((x + sigmoid(t[0])) / 16, (y + sigmoid(t[1])) / 8)
                size = (np.exp(t[2]) * anchor[0] / 64, np.exp(t[3]) * anchor[1] / 32)
                expected.append([*centre, *size, *(sigmoid(t[4]) * sigmoid(t[5:]))])
    np.testing.assert_allclose(run(model, blob)[0], expected, rtol=1e-4, atol=1e-5)


def convolve(picture: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    padded = np.pad(picture, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, kernel)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def test_scale_x_y_widens_the_centre_and_new_coords_squares_the_size() -> None:
    blob = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
    plain = run(build(TINY_CFG), blob)[0]
    wide = run(build(TINY_CFG.replace("num=3", "num=3\nscale_x_y=2.0")), blob)[0]
    cell = np.arange(16 * 8 * 2) // 2 % 16
    in_cell = plain[:, 0] * 16 - cell
    np.testing.assert_allclose(wide[:, 0] * 16 - cell, 2 * in_cell - 0.5, atol=1e-4)

    logistic = TINY_CFG.replace("activation=linear", "activation=logistic")
    new = run(build(logistic.replace("num=3", "num=3\nnew_coords=1")), blob)[0]
    probability = np.log(plain[0, 2] * 64 / 4)
    np.testing.assert_allclose(new[0, 2], (2 * sigmoid(probability)) ** 2 * 4 / 64, rtol=1e-4)


REGION = """\
[region]
anchors = 0.5,0.7, 1.9,2.1
classes=2
coords=4
num=2
softmax=1
bias_match=1
absolute=1
thresh=.6
"""


@pytest.mark.parametrize("softmax", [True, False])
def test_region_has_anchors_in_cells_and_classes_that_exclude_each_other(softmax: bool) -> None:
    """YOLOv2's head in NumPy, written from Darknet's region_layer.c."""
    region = REGION if softmax else REGION.replace("softmax=1", "softmax=0")
    model = build(TINY_CFG.split("[yolo]")[0] + region)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(outputs(model, "Conv")[1]))
    blob = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
    rows, raw = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": blob})

    expected = []
    for y in range(8):
        for x in range(16):
            for number, anchor in enumerate([(0.5, 0.7), (1.9, 2.1)]):
                t = raw[0, number * 7 : number * 7 + 7, y, x]
                classes = np.exp(t[5:]) / np.exp(t[5:]).sum() if softmax else sigmoid(t[5:])
                centre = ((x + sigmoid(t[0])) / 16, (y + sigmoid(t[1])) / 8)
                size = (np.exp(t[2]) * anchor[0] / 16, np.exp(t[3]) * anchor[1] / 8)
                expected.append([*centre, *size, *(sigmoid(t[4]) * classes)])
    np.testing.assert_allclose(rows[0], expected, rtol=1e-4, atol=1e-5)


def test_reorg_is_darknets_own() -> None:
    """Number by number as reorg_cpu in Darknet's blas.c, which takes a picture of 8x8x16 for one of 2x16x32."""
    cfg = TINY_CFG.replace("filters=14", "filters=8").replace(
        "[yolo]", "[reorg]\nstride=2\n[convolutional]\nfilters=14\nsize=1\nactivation=linear\n[yolo]"
    )
    model = build(cfg)
    for name in (outputs(model, "Conv")[1], outputs(model, "Reshape")[1]):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    blob = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
    _, before, after = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": blob})
    assert after.shape == (1, 32, 4, 8)

    channels, height, width, stride = 8, 8, 16, 2
    given, expected = before.ravel(), np.zeros(before.size, np.float32)
    part = channels // stride**2
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                w2, h2 = i * stride + k // part % stride, j * stride + k // part // stride
                inside = w2 + width * stride * (h2 + height * stride * (k % part))
                expected[i + width * (j + height * k)] = given[inside]
    np.testing.assert_array_equal(after.ravel(), expected)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("coords=4", "coords=5", "coords must be 4"),
        ("softmax=1", "tree=data/9k.tree", "tree is not supported (only YOLO9000"),
        ("softmax=1", "background=1", "background is not supported"),
        ("[region]", "[reorg]\nstride=3\n[region]", "[reorg]: stride=3 does not fit 14x8x16"),
        ("[region]", "[reorg]\nstride=2\nreverse=1\n[region]", "reverse is not supported"),
        ("0.5,0.7, 1.9,2.1", "0.5,0.7", "expected two for each of num=2"),
    ],
)
def test_what_of_yolov2_is_refused(old: str, new: str, words: str) -> None:
    assert old in REGION
    assert words in error_of(build, TINY_CFG.split("[yolo]")[0] + REGION.replace(old, new))


@pytest.mark.parametrize("size", [(32, 66), (30, 64)])
def test_a_side_that_is_no_multiple_of_the_stride_is_refused_with_the_reason(size: tuple[int, int]) -> None:
    """Its shapes fit each other all the same: an odd side is halved upwards, and every box would be a little off."""
    message = error_of(lambda: build(TINY_CFG, size=size))
    assert f"the input is {size[1]}x{size[0]}: its sides must be divisible by 4" in message
    assert "[net] (line 2)" in message


def test_without_activation_a_convolution_is_logistic_and_a_shortcut_linear() -> None:
    shortcut = "[shortcut]\nfrom=-1\n"
    cfg = TINY_CFG.replace("activation=leaky\n", "").replace("[yolo]", shortcut + "[yolo]")
    explicit = cfg.replace("pad=1\n\n[maxpool]", "pad=1\nactivation=logistic\n\n[maxpool]").replace(
        shortcut, shortcut + "activation=linear\n"
    )
    assert explicit.count("activation=") == cfg.count("activation=") + 2
    assert build(cfg) == build(explicit)


@pytest.mark.parametrize("activation", ["linear", "leaky", "relu", "logistic", "mish", "swish"])
def test_activations(activation: str) -> None:
    cfg = TINY_CFG.replace("activation=linear", f"activation={activation}")
    rows = {}
    for name, text in {"linear": TINY_CFG, activation: cfg}.items():
        model = build(text)
        value = next(node.input[0] for node in model.graph.node if node.op_type == "Reshape")
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
        session = onnxruntime.InferenceSession(model.SerializeToString())
        rows[name] = session.run([value], {"image": np.ones((1, 3, 32, 64), np.float32)})[0]
    x = rows["linear"]
    expected = {
        "linear": x,
        "leaky": np.where(x > 0, x, 0.1 * x),
        "relu": np.maximum(x, 0),
        "logistic": sigmoid(x),
        "mish": x * np.tanh(np.log1p(np.exp(x))),
        "swish": x * sigmoid(x),
    }[activation]
    np.testing.assert_allclose(rows[activation], expected, rtol=1e-4, atol=1e-6)


def test_routes_shortcuts_groups_and_upsampling() -> None:
    cfg = (
        TINY_CFG.split("[yolo]")[0].replace("filters=14", "filters=8")
        + "[shortcut]\nfrom=-2\nactivation=linear\n"
        + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n"
        + "[upsample]\nstride=2\n"
        + "[route]\nlayers=-1,0\n"
        + "[dropout]\nprobability=.2\n"
        + "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
        + "[yolo]\nmask=0,1\nanchors=4,6,10,12\nclasses=2\nnum=2\n"
    )
    model = build(cfg)
    onnx.checker.check_model(model, full_check=True)
    names = [outputs(model, op)[0] for op in ("MaxPool", "Conv", "Resize", "LeakyRelu", "Concat")]
    names[1] = outputs(model, "Conv")[1]
    for name in names:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    blob = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    pooled, convolved, upsampled, first, joined = session.run(names, {"image": blob})
    added = (pooled + convolved)[:, 4:]
    np.testing.assert_allclose(upsampled, added.repeat(2, axis=2).repeat(2, axis=3), rtol=1e-5)
    np.testing.assert_array_equal(joined, np.concatenate([upsampled, first], axis=1))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[maxpool]", "[lstm]", 13, "unknown section [lstm]"),
        ("[net]", "[convolutional]", None, "expected [net] first"),
        ("stride=2\npad", "stride=2\ndilation=2\npad", 10, "unknown option 'dilation'"),
        ("activation=leaky", "activation=selu", 11, "activation='selu', expected one of leaky, linear"),
        ("filters=8", "filters=eight", 7, "filters='eight', expected whole numbers"),
        ("filters=8", "filters=0", 7, "filters=0, expected a whole number of at least 1"),
        ("filters=14", "filters=13", 24, "need 14 channels, but the section before gives 13"),
        ("mask = 0,1", "mask = 0,3", 25, "expected numbers from 0 to 2"),
        ("anchors = 4,6, 10,12, 20,30", "anchors = 4,6, 10,12", 26, "anchors has 4 numbers"),
        ("filters=8", "filters 8", 7, "expected 'option = value'"),
        ("[maxpool]\nsize=2\nstride=2", "[shortcut]\nfrom=-5\nactivation=linear", 14, "from=-5 points outside"),
        (
            "[maxpool]\nsize=2\nstride=2",
            "[route]\nlayers=0\ngroups=3\ngroup_id=1",
            15,
            "can't be taken from 8 channels",
        ),
        ("width=64", "channels=1\nwidth=64", 2, "channels must be 3"),
        ("[maxpool]", "[net]\nwidth=64\n[maxpool]", 13, "a second [net]; the first is in line 1"),
        ("filters=8", "filters=9\nfilters=8", 8, "filters is given twice, first in line 7"),
        ("width=64", "width=4128", 2, "the input is 4128x32, at most 4096"),
        ("size=2", "size=99\npadding=0", 13, "leaves nothing of the image: 8x-41x-33"),
        ("pad=1", "padding=2000000000", 5, "numbers, at most 268435456"),
        ("[maxpool]\nsize=2\nstride=2", "[upsample]\nstride=100000", 13, "numbers, at most 268435456"),
        ("[maxpool]\nsize=2\nstride=2", "[upsample]\nstride=100", 23, "boxes, at most 1048576 are allowed"),
        ("20,30", "20,nan", 26, "expected decimal numbers"),
        ("num=3", "num=3\nscale_x_y=1e999", 29, "expected decimal numbers"),
    ],
)
def test_bad_configurations_name_file_line_and_section(old: str, new: str, line: int | None, words: str) -> None:
    assert old in TINY_CFG
    message = error_of(build, TINY_CFG.replace(old, new, 1))
    assert message.startswith("a.cfg")
    assert words in message
    if line:
        assert f"line {line}" in message


def test_a_text_that_is_no_configuration() -> None:
    assert "before the first [section]" in error_of(parse_config, "<!DOCTYPE html>\n<html>", "a.cfg")
    assert "no sections" in error_of(parse_config, "", "a.cfg")


def test_a_network_without_yolo_sections() -> None:
    assert "detects nothing" in error_of(build, TINY_CFG.split("[yolo]")[0])


def test_labels_are_stored_and_counted() -> None:
    model = build(TINY_CFG, labels=["cat", "dog"])
    assert {entry.key: entry.value for entry in model.metadata_props} == {"labels": '["cat", "dog"]'}
    with pytest.raises(DarknetError, match=r"line 27, \[yolo\]: classes=2, but there are 3 names"):
        build(TINY_CFG, labels=["cat", "dog", "cow"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda data: data[:-4],
            r"a.cfg, line 17, \[convolutional\]: .*112 floats are needed for the kernel, 111 are left",
        ),
        (
            lambda data: data[:60],
            r"a.cfg, line 5, \[convolutional\]: .*8 floats are needed for the batch norm scales, 2 are left",
        ),
        (lambda data: data + bytes(8), r"2 floats are left over"),
        (lambda data: data[:-3], r"not a whole number of floats"),
        (lambda data: data[:10], r"10 bytes, too few for the header"),
        (lambda data: b"", r"0 bytes, too few for the header"),
        (lambda data: b"<!DOCTYPE html><html><body>moved</body></html>", r"is an HTML page"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", r"is a Git LFS pointer"),
        (lambda data: b"PK\x03\x04" + data, r"is a zip archive"),
        (lambda data: b"\x07\x00\x00\x00" + data[4:], r"version 7.2, expected 0.1 or 0.2"),
        # What a text editor makes of it: every byte above 127 became a replacement character.
        (lambda data: data.decode("utf-8", "replace").encode(), r"floats|too few|version"),
        (lambda data: data[:20] + b"\x00\x00\xc0\x7f" + data[24:], r"damaged: not all of the biases .* are finite"),
        (lambda data: data[:116] + b"\x00\x00\x80\xbf" + data[120:], r"variance is negative"),
    ],
)
def test_bad_weights_are_an_error_that_says_what_was_expected(tmp_path: Path, change, words: str) -> None:
    path = weights_for(TINY_CFG, tmp_path / "net.weights")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DarknetError, match=words) as raised:
        build(TINY_CFG, Weights(path))
    assert "net.weights" in str(raised.value)


def test_a_kernel_whose_size_no_integer_of_64_bits_holds_is_an_error_too(tmp_path: Path) -> None:
    path = weights_for(TINY_CFG, tmp_path / "net.weights")
    message = error_of(build, TINY_CFG.replace("size=3", "size=4294967296"), Weights(path))
    assert "442721857769029238784 floats are needed for the kernel" in message


def test_the_old_header_is_four_bytes_shorter(tmp_path: Path) -> None:
    path = weights_for(TINY_CFG, tmp_path / "new.weights")
    data = path.read_bytes()
    old = tmp_path / "old.weights"
    old.write_bytes(b"\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0" + data[20:])
    assert build(TINY_CFG, Weights(old)) == build(TINY_CFG, Weights(path))


def test_comments_and_spaces_are_ignored(tmp_path: Path) -> None:
    noisy = re.sub(r"(?m)^(\w+)=", r"  \1 = ", TINY_CFG).replace("[yolo]", "# the head\n; really\n[yolo]  # here")
    path = write_model(tmp_path / "m") / "net.weights"
    assert build(noisy, Weights(path)) == build(TINY_CFG, Weights(path))
