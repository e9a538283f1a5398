"""Where models come from: names, folders, downloads, and the ONNX files prepared from them."""

#: Part of a prepared model's name: raise it whenever the same .onnx gives another prepared file or head.
READER_VERSION = 2
