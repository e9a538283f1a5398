"""Reads Darknet networks (``.cfg`` and ``.weights``) and writes them as one ONNX graph."""

from barevision.darknet.config import DarknetError, Section, parse_config
from barevision.darknet.graph import CONVERTER_VERSION, build_model
from barevision.darknet.weights import Weights

__all__ = [
    "CONVERTER_VERSION",
    "DarknetError",
    "Section",
    "Weights",
    "build_model",
    "parse_config",
]
