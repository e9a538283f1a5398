"""Where models come from: names, folders, downloads, and the ONNX files prepared from them."""
