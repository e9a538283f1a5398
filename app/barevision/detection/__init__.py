"""From picture to boxes: pure functions on arrays. No files, no HTTP, no network."""

from barevision.detection.annotate import annotate
from barevision.detection.decode import LARGEST_SIDES, decode_image, decode_reduced, encode_image
from barevision.detection.errors import ImageError, ImageTooLargeError, SideTooLongError
from barevision.detection.postprocess import Detection, Selection, class_colors, select_detections
from barevision.detection.preprocess import to_blob

__all__ = [
    "LARGEST_SIDES",
    "Detection",
    "ImageError",
    "ImageTooLargeError",
    "Selection",
    "SideTooLongError",
    "annotate",
    "class_colors",
    "decode_image",
    "decode_reduced",
    "encode_image",
    "select_detections",
    "to_blob",
]
