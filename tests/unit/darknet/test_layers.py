"""Each section that turns features into features, against Darknet's definition in NumPy."""

from __future__ import annotations

import re

import numpy as np
import pytest

from barevision.darknet import layers
from tests.support.darknet_files import TINY_CFG, build, build_section, error_of, error_with
from tests.support.onnx_files import run


def feature(*shape: int, seed: int = 0) -> np.ndarray:
    """A batch of one feature (channels, height, width)."""
    return np.random.default_rng(seed).uniform(-1, 1, (1, *shape)).astype(np.float32)


@pytest.mark.parametrize("activation", ["linear", "leaky", "relu", "logistic", "mish", "swish"])
def test_activations(activation: str) -> None:
    section = "[convolutional]\nfilters=4\nactivation="
    image = 100 * feature(3, 8, 8)
    x = run(build_section(layers.convolutional, section + "linear", (3, 8, 8)), image)
    assert x.min() < -1
    assert x.max() > 1
    expected = {
        "linear": x,
        "leaky": np.where(x > 0, x, 0.1 * x),
        "relu": np.maximum(x, 0),
        "logistic": 1 / (1 + np.exp(-x)),
        "mish": x * np.tanh(np.log1p(np.exp(x))),
        "swish": x / (1 + np.exp(-x)),
    }[activation]
    activated = run(build_section(layers.convolutional, section + activation, (3, 8, 8)), image)
    np.testing.assert_allclose(activated, expected, rtol=1e-4, atol=1e-6)


def test_without_activation_a_convolution_is_logistic_and_a_shortcut_linear() -> None:
    shortcut = "[shortcut]\nfrom=-1\n"
    cfg = TINY_CFG.replace("activation=leaky\n", "").replace("[yolo]", shortcut + "[yolo]")
    explicit = cfg.replace("pad=1\n\n[maxpool]", "pad=1\nactivation=logistic\n\n[maxpool]").replace(
        shortcut, shortcut + "activation=linear\n"
    )
    assert explicit.count("activation=") == cfg.count("activation=") + 2
    assert build(cfg) == build(explicit)


def test_a_pool_that_does_not_shrink_is_padded_below_and_to_the_right() -> None:
    """The last pool of yolov3-tiny."""
    x = feature(4, 5, 6)
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    expected = np.max([padded[..., dy : dy + 5, dx : dx + 6] for dy in (0, 1) for dx in (0, 1)], axis=0)
    pooled = run(build_section(layers.maxpool, "[maxpool]\nsize=2\nstride=1", (4, 5, 6)), x)
    np.testing.assert_array_equal(pooled, expected)


def test_reorg_is_darknets_own() -> None:
    """Number by number as reorg_cpu in Darknet's blas.c, which takes an image of 8x8x16 for one of 2x16x32."""
    channels, height, width, stride = 8, 8, 16, 2
    before = feature(channels, height, width)
    after = run(build_section(layers.reorg, "[reorg]\nstride=2", (channels, height, width)), before)
    assert after.shape == (1, 32, 4, 8)

    numbers, expected = before.ravel(), np.zeros(before.size, np.float32)
    part = channels // stride**2
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                w2, h2 = i * stride + k // part % stride, j * stride + k // part // stride
                inside = w2 + width * stride * (h2 + height * stride * (k % part))
                expected[i + width * (j + height * k)] = numbers[inside]
    np.testing.assert_array_equal(after.ravel(), expected)


def test_upsampling_repeats_every_cell() -> None:
    x = feature(4, 3, 5)
    larger = run(build_section(layers.upsample, "[upsample]\nstride=2", (4, 3, 5)), x)
    np.testing.assert_array_equal(larger, x.repeat(2, axis=2).repeat(2, axis=3))


def test_a_shortcut_adds_and_then_activates() -> None:
    first, second, third = (feature(4, 3, 5, seed=seed) for seed in range(3))
    model = build_section(layers.shortcut, "[shortcut]\nfrom=-3,1\nactivation=relu", *[(4, 3, 5)] * 3)
    np.testing.assert_array_equal(run(model, first, second, third), np.maximum(third + first + second, 0))


def test_a_route_joins_channels() -> None:
    first, second, third = feature(4, 3, 5), feature(2, 6, 6), feature(6, 3, 5)
    model = build_section(layers.route, "[route]\nlayers=-1,0", (4, 3, 5), (2, 6, 6), (6, 3, 5))
    np.testing.assert_array_equal(run(model, first, second, third), np.concatenate([third, first], axis=1))


def test_a_route_with_groups_takes_one_group_of_each_feature() -> None:
    first, second = feature(4, 3, 5), feature(6, 3, 5)
    model = build_section(layers.route, "[route]\nlayers=0,1\ngroups=2\ngroup_id=1", (4, 3, 5), (6, 3, 5))
    np.testing.assert_array_equal(run(model, first, second), np.concatenate([first[:, 2:], second[:, 3:]], axis=1))


def test_a_dropout_changes_nothing() -> None:
    assert build(TINY_CFG.replace("[yolo]", "[dropout]\nprobability=.2\n[yolo]")) == build(TINY_CFG)


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("[convolutional]\nfilters=9\ngroups=2", 15, "groups=2 does not divide 8 input channels and 9 filters"),
        ("[shortcut]\nfrom=-5\nactivation=linear", 14, "from=-5 points outside the 1 sections before it"),
        ("[route]\nlayers=0\ngroups=3\ngroup_id=1", 15, "group 1 of 3 can't be taken from 8 channels"),
        ("[reorg]\nstride=3", 14, "stride=3 does not fit 8x16x32"),
        ("[reorg]\nstride=2\nreverse=1", 15, "reverse is not supported"),
    ],
)
def test_what_does_not_fit_is_refused(section: str, line: int, words: str) -> None:
    message = error_with("[maxpool]\nsize=2\nstride=2", section)
    assert re.match(rf"a\.cfg, line {line}\b", message)
    assert words in message


def test_features_of_different_shapes_are_neither_added_nor_joined() -> None:
    shapes = (4, 3, 5), (4, 3, 6)
    assert "adds 4x3x5 to 4x3x6" in error_of(build_section, layers.shortcut, "[shortcut]\nfrom=0", *shapes)
    words = "joins features of different sizes: 4x3x5, 4x3x6"
    assert words in error_of(build_section, layers.route, "[route]\nlayers=0,1", *shapes)
