"""Reads Darknet networks (``.cfg`` and ``.weights``) and writes them as one ONNX graph."""

#: Part of a prepared model's name: raise it whenever the same .cfg and .weights give another graph.
CONVERTER_VERSION = 4
