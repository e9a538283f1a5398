"""From picture to boxes: pure functions on arrays. No files, no HTTP, no network."""

from barevision.detection.annotate import annotate
from barevision.detection.decode import LARGEST_SIDES, decode_image, decode_reduced, encode_image
from barevision.detection.errors import ImageError, ImageTooLargeError, SideTooLongError
from barevision.detection.heads import Head, to_rows
from barevision.detection.postprocess import Detection, Selection, class_colors, clip, select_detections
from barevision.detection.preprocess import of_picture, to_blob

__all__ = [
    "LARGEST_SIDES",
    "Detection",
    "Head",
    "ImageError",
    "ImageTooLargeError",
    "Selection",
    "SideTooLongError",
    "annotate",
    "class_colors",
    "clip",
    "decode_image",
    "decode_reduced",
    "encode_image",
    "of_picture",
    "select_detections",
    "to_blob",
    "to_rows",
]
