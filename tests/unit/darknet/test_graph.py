"""Whole Darknet networks as ONNX graphs: what they answer, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from barevision.darknet.weights import Weights
from barevision.errors import DarknetError
from barevision.models.catalogue import find_source
from tests.support.darknet_files import TINY_CFG, RandomWeights, build, error_of, error_with, weights_for
from tests.support.onnx_files import run


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


def test_the_tiny_network_answers_as_darknet_defines_it() -> None:
    """The whole network again in NumPy: convolution with batch norm, pooling, convolution, boxes."""
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


def convolve(image: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, kernel)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def test_sections_count_from_the_first_after_net() -> None:
    """An absolute position in [route] and [shortcut] means the same section as the negative one."""
    between = "[shortcut]\nfrom=-2\n[route]\nlayers=-1,-3\n[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
    cfg = TINY_CFG.replace("filters=14", "filters=8").replace("[yolo]", between + "[yolo]")
    absolute = cfg.replace("from=-2", "from=1").replace("layers=-1,-3", "layers=3,1")
    assert build(absolute) == build(cfg)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("width=64", "channels=1\nwidth=64", 2, "channels must be 3"),
        ("width=64", "width=4128", 2, "the input is 4128x32, at most 4096"),
        ("size=2", "size=99\npadding=0", 13, "leaves nothing of the image: 8x-41x-33"),
        ("pad=1", "padding=2000000000", 5, "numbers, at most 268435456"),
        ("[maxpool]\nsize=2\nstride=2", "[upsample]\nstride=100000", 13, "numbers, at most 268435456"),
    ],
)
def test_a_network_with_impossible_sizes_is_refused(old: str, new: str, line: int, words: str) -> None:
    message = error_with(old, new)
    assert re.match(rf"a\.cfg, line {line}\b", message)
    assert words in message


@pytest.mark.parametrize("size", [(32, 66), (30, 64)])
def test_a_side_that_the_stride_does_not_divide_is_refused_with_the_reason(size: tuple[int, int]) -> None:
    """The shapes would fit each other all the same, but every box would be a little off."""
    message = error_of(lambda: build(TINY_CFG, size=size))
    assert f"the input is {size[1]}x{size[0]}: its sides must be divisible by 4" in message
    assert "[net] (line 2)" in message


def test_a_network_that_detects_nothing_is_refused() -> None:
    assert "detects nothing" in error_of(build, TINY_CFG.split("[yolo]")[0])


def test_heads_with_different_numbers_of_classes_are_refused() -> None:
    second = "[convolutional]\nfilters=16\nactivation=linear\n[yolo]\nanchors=4,6, 10,12\nclasses=3\nnum=2\n"
    assert "different numbers of classes: [2, 3]" in error_of(build, TINY_CFG + second)


def test_labels_are_stored_and_counted() -> None:
    model = build(TINY_CFG, labels=["cat", "dog"])
    assert {entry.key: entry.value for entry in model.metadata_props} == {"labels": '["cat", "dog"]', "fit": "stretch"}
    with pytest.raises(DarknetError, match=r"line 27, \[yolo\]: classes=2, but there are 3 names"):
        build(TINY_CFG, labels=["cat", "dog", "cow"])
