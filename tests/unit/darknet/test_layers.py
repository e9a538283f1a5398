"""Each section that turns features into features, against Darknet's definition in NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from barevision.darknet import layers
from barevision.darknet.config import Section
from barevision.engines import Plan, load_engine
from tests.support.darknet_files import TINY_CFG, RandomWeights, build, build_section, error_of, error_with
from tests.support.onnx_files import run, write_network


def feature(*shape: int, seed: int = 0) -> np.ndarray:
    """A batch of one feature (channels, height, width)."""
    return np.random.default_rng(seed).uniform(-1, 1, (1, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    "activation",
    ["linear", "leaky", "relu", "relu6", "logistic", "tanh", "elu", "selu", "ramp", "mish", "swish"],
)
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
        "relu6": np.clip(x, 0, 6),
        "tanh": np.tanh(x),
        "elu": np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
        "selu": 1.0507 * np.where(x > 0, x, 1.6732 * (np.exp(np.minimum(x, 0)) - 1)),
        "ramp": np.maximum(x, 0) + 0.1 * x,
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


def test_a_convolution_may_have_two_strides_and_a_spread_kernel() -> None:
    x = feature(3, 8, 12)
    plain = run(build_section(layers.convolutional, "[convolutional]\nsize=3\npad=1\nactivation=linear", (3, 8, 12)), x)
    cfg = "[convolutional]\nsize=3\npad=1\nactivation=linear\nstride_x=2\nstride_y=4"
    np.testing.assert_allclose(
        run(build_section(layers.convolutional, cfg, (3, 8, 12)), x), plain[..., ::4, ::2], rtol=1e-5, atol=1e-6
    )

    # A kernel of 3x3 with a cell between any two is one of 5x5, of which every second number counts.
    cfg = "[convolutional]\nsize=3\npad=1\ndilation=2\nactivation=linear"
    spread = run(build_section(layers.convolutional, cfg, (3, 8, 12)), x)
    weights = RandomWeights()
    biases, kernel = weights.take(1, None, "the biases"), weights.take(27, None, "the kernel").reshape(3, 3, 3)
    padded = np.pad(x[0], ((0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))[..., ::2, ::2]
    np.testing.assert_allclose(spread[0, 0], np.einsum("chwij,cij->hw", windows, kernel) + biases, rtol=1e-4, atol=1e-6)


def test_convolutions_share_a_kernel() -> None:
    """By position or counted back. What is shared is in the .weights file once."""
    convolution = "[convolutional]\nfilters=8\nsize=1\nactivation=linear\n"
    cfg = TINY_CFG.replace("[maxpool]\nsize=2\nstride=2\n", convolution + convolution + "[maxpool]\nsize=2\nstride=2\n")
    model = build(cfg.replace(convolution + convolution, f"{convolution}{convolution}share_index=-1\n"))
    assert model == build(cfg.replace(convolution + convolution, f"{convolution}{convolution}share_index=1\n"))
    first, second = (node for node in model.graph.node if node.op_type == "Conv" and node.name in ("Conv_2", "Conv_3"))
    assert second.input[1:] == first.input[1:]
    for index in (0, 2, 5):
        other = cfg.replace(convolution + convolution, f"{convolution}{convolution}share_index={index}\n")
        assert f"share_index={index} is no earlier convolution with a kernel of the same shape" in error_of(
            build, other
        )


@pytest.mark.parametrize("variance", [-1.0001e-5, -1e-5, -9.9998997e-06, -7e-44, -0.0])
def test_a_variance_that_is_zero_but_for_its_rounding_counts_as_zero(variance: float) -> None:
    section = "[convolutional]\nbatch_normalize=1\nactivation=linear"
    x = feature(1, 2, 2)
    answers = [
        run(build_section(layers.convolutional, section, (1, 2, 2), weights=FixedWeights(number)), x)
        for number in (variance, 0)
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.isfinite(answers[0]).all()


class FixedWeights(RandomWeights):
    """Random numbers, but for the batch norm variances."""

    def __init__(self, variance: float) -> None:
        super().__init__()
        self._variance = np.float32(variance)

    def take(self, count: int, section: Section, what: str) -> np.ndarray:
        values = super().take(count, section, what)
        return np.full_like(values, self._variance) if what == "the batch norm variances" else values


def test_a_pool_that_does_not_shrink_is_padded_below_and_to_the_right() -> None:
    """The last pool of yolov3-tiny."""
    x = feature(4, 5, 6)
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    expected = np.max([padded[..., dy : dy + 5, dx : dx + 6] for dy in (0, 1) for dx in (0, 1)], axis=0)
    pooled = run(build_section(layers.maxpool, "[maxpool]\nsize=2\nstride=1", (4, 5, 6)), x)
    np.testing.assert_array_equal(pooled, expected)


def test_a_local_mean_leaves_out_what_is_beyond_the_border() -> None:
    x = feature(4, 5, 6)
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    expected = np.nanmean([padded[..., dy : dy + 5, dx : dx + 6] for dy in (0, 1) for dx in (0, 1)], axis=0)
    pooled = run(build_section(layers.local_avgpool, "[local_avgpool]\nsize=2\nstride=1", (4, 5, 6)), x)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


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


def test_reorg3d_puts_the_cells_of_a_square_one_behind_the_other() -> None:
    x = feature(3, 4, 6)
    after = run(build_section(layers.reorg3d, "[reorg3d]\nstride=2", (3, 4, 6)), x)
    expected = np.concatenate([x[..., dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)], axis=1)
    np.testing.assert_array_equal(after, expected)


def test_upsampling_repeats_every_cell() -> None:
    x = feature(4, 3, 5)
    larger = run(build_section(layers.upsample, "[upsample]\nstride=2", (4, 3, 5)), x)
    np.testing.assert_array_equal(larger, x.repeat(2, axis=2).repeat(2, axis=3))
    scaled = run(build_section(layers.upsample, "[upsample]\nstride=2\nscale=.5", (4, 3, 5)), x)
    np.testing.assert_array_equal(scaled, larger / 2)


def test_a_shortcut_adds_and_then_activates() -> None:
    first, second, third = (feature(4, 3, 5, seed=seed) for seed in range(3))
    model = build_section(layers.shortcut, "[shortcut]\nfrom=-3,1\nactivation=relu", *[(4, 3, 5)] * 3)
    np.testing.assert_array_equal(run(model, first, second, third), np.maximum(third + first + second, 0))


@pytest.mark.parametrize(
    ("shape", "added"),
    [
        ((6, 4, 6), lambda earlier: earlier[:, :4]),
        ((3, 4, 6), lambda earlier: np.pad(earlier, ((0, 0), (0, 1), (0, 0), (0, 0)))),
        ((4, 8, 12), lambda earlier: earlier[..., ::2, ::2]),
        ((2, 12, 18), lambda earlier: np.pad(earlier[..., ::3, ::3], ((0, 0), (0, 2), (0, 0), (0, 0)))),
    ],
)
def test_a_shortcut_adds_what_both_have(shape: tuple[int, int, int], added: Callable[[np.ndarray], np.ndarray]) -> None:
    """The result has the shape of the section before: the first channels are added, and of more cells every second."""
    earlier, before = feature(*shape), feature(4, 4, 6, seed=1)
    model = build_section(layers.shortcut, "[shortcut]\nfrom=-2\nactivation=linear", shape, (4, 4, 6))
    np.testing.assert_array_equal(run(model, earlier, before), before + added(earlier))


@pytest.mark.parametrize("kind", ["per_feature", "per_layer", "per_channel"])
@pytest.mark.parametrize("normalization", ["relu", "softmax"])
def test_a_shortcut_weighs_its_features(kind: str, normalization: str) -> None:
    """As fuse_conv_batchnorm in Darknet's network.c computes the weights before it predicts."""
    section = f"[shortcut]\nfrom=-2,-3\nweights_type={kind}\nweights_normalization={normalization}"
    first, second, third = (feature(4, 3, 5, seed=seed) for seed in range(3))
    model = build_section(layers.shortcut, section, *[(4, 3, 5)] * 3)
    channels = 4 if kind == "per_channel" else 1
    weights = RandomWeights().take(3 * channels, None, "the weights").reshape(3, channels, 1, 1)
    parts = np.maximum(weights, 0.001) if normalization == "relu" else np.exp(weights - weights.max(axis=0))
    shares = parts / (parts.sum(axis=0) + 0.0001)
    expected = third * shares[0] + second * shares[1] + first * shares[2]
    np.testing.assert_allclose(run(model, first, second, third), expected, rtol=1e-5, atol=1e-6)
    misspelt = section.replace("weights_normalization", "weights_normalizion")
    assert build_section(layers.shortcut, misspelt, *[(4, 3, 5)] * 3) == model


def test_squeeze_and_excite_multiplies_each_channel_by_a_number() -> None:
    x, numbers = feature(4, 3, 5), feature(4, 1, 1, seed=1)
    model = build_section(layers.scale_channels, "[scale_channels]\nfrom=-2", (4, 3, 5), (4, 1, 1))
    np.testing.assert_array_equal(run(model, x, numbers), x * numbers)
    np.testing.assert_allclose(
        run(build_section(layers.avgpool, "[avgpool]", (4, 3, 5)), x),
        x.mean(axis=(2, 3), keepdims=True),
        rtol=1e-5,
        atol=1e-6,
    )


def test_attention_multiplies_each_cell_by_a_number() -> None:
    x, cells, all_numbers = feature(4, 3, 5), feature(1, 3, 5, seed=1), feature(4, 3, 5, seed=2)
    section = "[scale_channels]\nfrom=0\nscale_wh=1\nactivation=relu"
    model = build_section(layers.scale_channels, section, (4, 3, 5), (1, 3, 5))
    np.testing.assert_array_equal(run(model, x, cells), np.maximum(x * cells, 0))
    model = build_section(layers.sam, "[sam]\nfrom=-2\nactivation=leaky", (4, 3, 5), (4, 3, 5))
    product = x * all_numbers
    np.testing.assert_allclose(run(model, x, all_numbers), np.where(product > 0, product, 0.1 * product), rtol=1e-6)


def test_an_activation_may_be_a_section_of_its_own() -> None:
    x = feature(4, 3, 5)
    model = build_section(layers.activation, "[activation]\nactivation=relu", (4, 3, 5))
    np.testing.assert_array_equal(run(model, x), np.maximum(x, 0))


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
    "sections",
    [
        "[route]\nlayers=0,0\n[maxpool]\nsize=2\nstride=2\n[route]\nlayers=1\n[shortcut]\nfrom=-2\nactivation=leaky\n",
        "[convolutional]\nfilters=5\nactivation=linear\n[route]\nlayers=1\n[shortcut]\nfrom=-2\nactivation=leaky\n",
        "[shortcut]\nfrom=0\nactivation=linear\n",
        "[shortcut]\nfrom=-1\nweights_type=per_channel\nweights_normalization=softmax\n",
        "[avgpool]\n[convolutional]\nfilters=8\nactivation=logistic\n[scale_channels]\nfrom=1\n",
        "[convolutional]\nfilters=1\nactivation=logistic\n[scale_channels]\nfrom=1\nscale_wh=1\n",
        "[convolutional]\nfilters=8\nactivation=logistic\n[sam]\nfrom=1\n",
        "[local_avgpool]\nsize=2\nstride=1\n",
        "[reorg3d]\nstride=2\n[upsample]\nstride=2\nscale=.5\n",
        "[reorg]\nstride=2\n[upsample]\nstride=2\n",
        "[convolutional]\nfilters=8\nsize=3\npad=1\ndilation=2\nstride_x=2\nstride_y=1\nactivation=relu6\n",
        "[activation]\nactivation=selu\n[activation]\nactivation=elu\n[activation]\nactivation=ramp\n",
    ],
)
def test_both_engines_run_every_section(tmp_path: Path, sections: str) -> None:
    model = build(TINY_CFG.replace("[convolutional]\nfilters=14", f"{sections}[convolutional]\nfilters=14"))
    path = write_network(tmp_path / "net.onnx", model)
    blob = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)
    answer, other = (load_engine(Plan(name), path).infer(blob) for name in ("onnxruntime", "opencv"))
    np.testing.assert_allclose(other, answer, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("[convolutional]\nfilters=9\ngroups=2", 15, "groups=2 does not divide 8 input channels and 9 filters"),
        ("[shortcut]\nfrom=-5\nactivation=linear", 14, "from=-5 points outside the 1 sections before it"),
        ("[route]\nlayers=0\ngroups=3\ngroup_id=1", 15, "group 1 of 3 can't be taken from 8 channels"),
        ("[reorg]\nstride=3", 14, "stride=3 does not fit 8x16x32"),
        ("[reorg]\nstride=2\nreverse=1", 15, "reverse=1 is not supported"),
        ("[reorg3d]\nstride=3", 14, "stride=3 does not fit 8x16x32"),
        ("[scale_channels]\nfrom=-1", 14, "multiplies 8x16x32 by 8x16x32"),
        ("[avgpool]\n[sam]\nfrom=-2", 15, "multiplies 8x16x32 by 8x1x1"),
        ("[sam]\nfrom=-1\nactivation=mish", 15, "activation='mish', expected one of elu, leaky, linear"),
        ("[shortcut]\nfrom=-1\nweights_type=per_channel", 13, "needs weights_normalization=relu or softmax"),
        ("[shortcut]\nfrom=-1\nalpha=.5", 15, "alpha=.5 is not supported"),
    ],
)
def test_what_does_not_fit_is_refused(section: str, line: int, words: str) -> None:
    message = error_with("[maxpool]\nsize=2\nstride=2", section)
    assert re.match(rf"a\.cfg, line {line}\b", message)
    assert words in message


def test_features_of_different_shapes_are_neither_added_nor_joined() -> None:
    shapes = (4, 3, 5), (4, 3, 6)
    words = "adds 4x3x5 to 4x3x6; its height and width must be equal, or larger by a whole number of times"
    assert words in error_of(build_section, layers.shortcut, "[shortcut]\nfrom=0", *shapes)
    words = "joins features of different sizes: 4x3x5, 4x3x6"
    assert words in error_of(build_section, layers.route, "[route]\nlayers=0,1", *shapes)
