"""Reads Darknet networks (``.cfg`` and ``.weights``) and writes them as one ONNX graph."""
