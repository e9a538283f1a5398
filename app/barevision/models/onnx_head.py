"""What an exported network's answer means: by what the file says of itself, and then by its shape and its nodes.

Several exporters answer in the same shape and mean something else. What nobody claims is refused, never guessed.
"""

from __future__ import annotations

import ast
import re

from barevision.detection.network_output import Head, cells, yolox_strides
from barevision.errors import ModelError

_MAX_TEXT = 2**20
# Cells of these sizes in pixels make up the answers of published networks: three sizes, four (P6), or two (tiny).
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (16, 32))
# Boxes for each cell of networks with anchors: three, and four or five in some.
_ANCHORS = range(2, 6)
_ARITHMETIC = {"Add", "Div", "Exp", "MatMul", "Mul", "Pow", "ScatterND", "Sub"}
_EXPORTER_KEYS = {"author", "description", "head", "stride", "task"}
# The first release of Ultralytics' package whose RT-DETR answers the best class of a row alone.
_RTDETR_CHOOSES = (8, 4, 47)


def read_literal(metadata: dict[str, str], key: str) -> object:
    """The Python literal that the metadata has at `key`, or None. Never evaluated."""
    text = metadata.get(key, "")
    try:
        return ast.literal_eval(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def recognize_head(
    shape: tuple[int, int], classes: int, size: tuple[int, int], metadata: dict[str, str], operations: set[str]
) -> Head:
    """The form of an answer (1, a, b), and how images are fitted to the network's input.

    :param shape: a and b.
    :param size: (height, width) of the input in pixels.
    :param metadata: what the file says. Ultralytics' exporter writes much, YOLOv5's names and stride, others nothing.
    :param operations: the kinds of nodes that make the answer of what the last convolutions answer.
    :raises ModelError: nothing claims the answer.
    """
    a, b = shape
    # Ultralytics' exporter says what the head is since 2026; before, the description had the network's name.
    description = metadata.get("description", "")
    if metadata.get("head") == "RTDETRDecoder" or ("head" not in metadata and re.search("(?i)rt-?detr", description)):
        return _recognize_rtdetr(shape, classes, metadata)
    arguments = read_literal(metadata, "args")
    is_chosen = metadata.get("end2end", str(bool(re.search("(?i)yolov?10", description)))) == "True"
    if b == 6 and (is_chosen or (isinstance(arguments, dict) and arguments.get("nms") is True)):
        return Head("end-to-end", "letterbox")
    says_something = not _EXPORTER_KEYS.isdisjoint(metadata)
    # Three classes and eight boxes fit both forms, and YOLOv5's exporter writes no task.
    is_yolov8 = a == 4 + classes and (b != 5 + classes or "task" in metadata)
    if is_yolov8 and (says_something or _boxes_per_cell(b, size) == 1):
        return Head("yolov8", "letterbox")
    if b == 5 + classes:
        is_decoded = not _ARITHMETIC.isdisjoint(operations)
        # YOLOX answers one box a cell, and its size as an exponent, which is applied inside or is still to be.
        if yolox_strides(a, size) and "Conv" in operations and not is_decoded:
            return Head("yolox", "yolox")
        if yolox_strides(a, size) and "Exp" in operations:
            return Head("yolov5", "yolox")
        # YOLOv5, YOLOv7 and their kin have anchors, and decode inside.
        if (is_decoded or "Conv" not in operations) and (says_something or _boxes_per_cell(a, size) in _ANCHORS):
            return Head("yolov5", "letterbox")
    raise ModelError(
        f"answers (1, {a}, {b}), and neither says in what form nor has one that is known for {classes} classes: "
        f"(1, {4 + classes}, N) of YOLOv8, YOLO11 and their kin, (1, N, {5 + classes}) of YOLOv5, YOLOv7 and YOLOX "
        "with their number of boxes a cell, (1, N, 6) if the file says end2end, nms or its head as Ultralytics' do"
    )


def _recognize_rtdetr(shape: tuple[int, int], classes: int, metadata: dict[str, str]) -> Head:
    """Ultralytics' RT-DETR: rows with all scores or, in newer releases, with the best one and its class."""
    a, b = shape
    version = tuple(int(part) for part in re.findall("[0-9]+", metadata.get("version", ""))[:3])
    has_all_scores = b == 4 + classes
    if b == 6 and not (has_all_scores and "head" not in metadata and version < _RTDETR_CHOOSES):
        return Head("rtdetr-chosen", "stretch")
    if has_all_scores:
        return Head("rtdetr", "stretch")
    raise ModelError(f"is RT-DETR and answers (1, {a}, {b}), expected (1, N, 6) or (1, N, {4 + classes})")


def _boxes_per_cell(boxes: int, size: tuple[int, int]) -> int | None:
    """How many boxes there are for each cell of an input of `size`; None if it is no whole number."""
    for strides in _STRIDES:
        number = len(cells(size, strides))
        if number and boxes % number == 0:
            return boxes // number
    return None
