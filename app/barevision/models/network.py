"""What every model is brought to: one ONNX file, and how to use it."""

from __future__ import annotations

from dataclasses import dataclass

from barevision.detection.network_output import Head


@dataclass(frozen=True)
class Network:
    """A detector as one ONNX file, and how to use it.

    :ivar data: the file for the engines, every side of the input a fixed number.
    :ivar labels: one name a class.
    :ivar head: what its answer means.
    :ivar quantized: whether its convolutions take whole numbers of 8 bits.
    """

    data: bytes
    labels: list[str]
    head: Head
    quantized: bool = False
