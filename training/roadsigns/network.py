"""A Darknet ``.cfg`` as a PyTorch module, and its weights in Darknet's format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import nn

from barevision.darknet.config import Section, parse_config

# Barevision folds batch norm with this epsilon; PyTorch trains with a larger one, and the difference is put into the
# variances that are written.
_DARKNET_EPSILON = 1e-6
_LEAKY_SLOPE = 0.1
_HEADER_BYTES = 20
#: Before training hardly anything is taken for an object: the logit of 0.25 %.
_OBJECTNESS_BIAS = -6.0


class Network(nn.Module):
    """The sections [convolutional], [maxpool], [upsample], [route] and [yolo] of a ``.cfg``.

    `forward` takes float32 (n, 3, height, width), RGB, 0 to 1, and answers each [yolo]'s input in turn. `anchors` are
    those of each [yolo] in pixels, (3, 2).
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sections = parse_config(path.read_text(), path.name)[1:]
        self.layers = nn.ModuleList()
        self.anchors = [_anchors(section) for section in self.sections if section.kind == "yolo"]
        channels: list[int] = []
        current = 3
        for index, section in enumerate(self.sections):
            layer, current = _layer(section, current, channels, index)
            self.layers.append(layer)
            channels.append(current)
        self._start_with_nothing_found()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features: list[torch.Tensor] = []
        heads = []
        for index, (section, layer) in enumerate(zip(self.sections, self.layers, strict=True)):
            if section.kind == "route":
                x = torch.cat([features[position] for position in _sources(section, index)], dim=1)
            elif section.kind == "yolo":
                heads.append(x)
            else:
                x = layer(x)
            features.append(x)
        return heads

    def _start_with_nothing_found(self) -> None:
        for index, section in enumerate(self.sections):
            if section.kind != "yolo":
                continue
            head = self.layers[index - 1][0]
            with torch.no_grad():
                head.weight.mul_(0.1)
                head.bias.view(3, -1)[:, 4] = _OBJECTNESS_BIAS


def read_weights(network: Network, path: Path) -> None:
    """Puts weights that `write_weights` wrote into `network`, to train on.

    :raises ValueError: the file belongs to another network.
    """
    values = torch.from_numpy(np.fromfile(path, "<f4", offset=_HEADER_BYTES).astype(np.float32))
    position = 0
    for section, layer in zip(network.sections, network.layers, strict=True):
        if section.kind != "convolutional":
            continue
        for tensor in _stored(layer):
            part = values[position : position + tensor.numel()]
            position += tensor.numel()
            if len(part) == tensor.numel():
                tensor.data.copy_(part.view(tensor.shape))
        if layer[0].bias is None:
            layer[1].running_var.sub_(layer[1].eps - _DARKNET_EPSILON).clamp_(min=0)
    if position != len(values):
        raise ValueError(f"{path}: has {len(values)} numbers, the network {position}")


def write_weights(network: Network, path: Path) -> None:
    """Writes the weights of `network` as Darknet does: biases, batch norm's scales, means, variances, kernel."""
    with path.open("wb") as file:
        file.write(struct.pack("<3iq", 0, 2, 5, 0))
        for section, layer in zip(network.sections, network.layers, strict=True):
            if section.kind == "convolutional":
                for values in _darknet_order(layer):
                    file.write(values.detach().numpy().astype("<f4").tobytes())


def _darknet_order(layer: nn.Sequential) -> list[torch.Tensor]:
    values = _stored(layer)
    if layer[0].bias is None:
        values[3] = values[3] + (layer[1].eps - _DARKNET_EPSILON)
    return values


def _stored(layer: nn.Sequential) -> list[torch.Tensor]:
    """The tensors of a convolution in the order of Darknet's file."""
    convolution = layer[0]
    if convolution.bias is not None:
        return [convolution.bias, convolution.weight]
    norm = layer[1]
    return [norm.bias, norm.weight, norm.running_mean, norm.running_var, convolution.weight]


def _layer(section: Section, current: int, channels: list[int], index: int) -> tuple[nn.Module, int]:
    """The module of a section and the number of channels that it gives."""
    if section.kind == "convolutional":
        return _convolution(section, current), section.integer("filters")
    if section.kind == "maxpool":
        return nn.MaxPool2d(section.integer("size"), section.integer("stride")), current
    if section.kind == "upsample":
        return nn.Upsample(scale_factor=section.integer("stride"), mode="nearest"), current
    if section.kind == "route":
        return nn.Identity(), sum(channels[position] for position in _sources(section, index))
    if section.kind == "yolo":
        return nn.Identity(), current
    raise section.error("can't be trained here")


def _convolution(section: Section, channels: int) -> nn.Sequential:
    size, filters = section.integer("size"), section.integer("filters")
    normalized = bool(section.integer("batch_normalize", 0))
    layers: list[nn.Module] = [
        nn.Conv2d(channels, filters, size, section.integer("stride"), size // 2, bias=not normalized)
    ]
    if normalized:
        layers.append(nn.BatchNorm2d(filters, momentum=0.03))
    if section.choice("activation", ("leaky", "linear"), "linear") == "leaky":
        layers.append(nn.LeakyReLU(_LEAKY_SLOPE, inplace=True))
    return nn.Sequential(*layers)


def _sources(section: Section, index: int) -> list[int]:
    return [index + layer if layer < 0 else layer for layer in section.integers("layers")]


def _anchors(section: Section) -> np.ndarray:
    pairs = np.array(section.numbers("anchors"), np.float32).reshape(-1, 2)
    return pairs[section.integers("mask")]
