"""The sections of a Darknet network that detect: boxes and scores, made of the numbers that each cell answers.

Each function adds its section's nodes to the graph and its boxes to `Graph.boxes`. It returns its input, because the
next section takes that as its source unless it names another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from barevision.darknet.builder import Boxes, Feature, Graph
from barevision.darknet.config import Section

# Boxes of one section: far above every published network.
_MAX_ROWS = 2**20


@dataclass(frozen=True)
class _Columns:
    """The names of ONNX values of shape (1, rows, n), a row for each anchor of each cell."""

    centre: str
    size: str
    objectness: str
    classes: str


def yolo(graph: Graph, section: Section, source: Feature) -> Feature:
    """The head of YOLOv3 and later, whose anchors are in pixels of the network's input."""
    anchors = _anchors(section)
    mask = section.integers("mask", list(range(len(anchors))))
    if any(not 0 <= number < len(anchors) for number in mask):
        raise section.error(f"mask={mask}, expected numbers from 0 to {len(anchors) - 1}", section.line_of("mask"))
    anchors = anchors[mask] / np.array([graph.image.width, graph.image.height], np.float32)
    raw = _raw_columns(graph, section, source, len(anchors))
    if section.integer("new_coords", 0):
        # The convolution before it is logistic already. A size is (2 x)² anchors; the anchors take the factor 4.
        columns = replace(raw, size=graph.node("Mul", [raw.size, raw.size]))
        anchors = 4 * anchors
    else:
        columns = _Columns(
            centre=graph.node("Sigmoid", [raw.centre]),
            size=graph.node("Exp", [raw.size]),
            objectness=graph.node("Sigmoid", [raw.objectness]),
            classes=graph.node("Sigmoid", [raw.classes]),
        )
    _add_boxes(graph, section, source, columns, anchors, stretch=section.number("scale_x_y", 1.0))
    return source


def region(graph: Graph, section: Section, source: Feature) -> Feature:
    """The head of YOLOv2, whose anchors are in cells. Source: forward_region_layer in Darknet's region_layer.c."""
    if section.integer("coords", 4) != 4:
        raise section.error("coords must be 4 (boxes)", section.line_of("coords"))
    for option in ("background", "classfix", "tree"):
        if option in section.options and section.options[option].value != "0":
            raise section.error(f"{option} is not supported (only YOLO9000 uses it)", section.line_of(option))
    anchors = _anchors(section) / np.array([source.width, source.height], np.float32)
    raw = _raw_columns(graph, section, source, len(anchors))
    if section.integer("softmax", 0):
        classes = graph.node("Softmax", [raw.classes], axis=2)
    else:
        classes = graph.node("Sigmoid", [raw.classes])
    columns = _Columns(
        centre=graph.node("Sigmoid", [raw.centre]),
        size=graph.node("Exp", [raw.size]),
        objectness=graph.node("Sigmoid", [raw.objectness]),
        classes=classes,
    )
    _add_boxes(graph, section, source, columns, anchors, stretch=1.0)
    return source


def _anchors(section: Section) -> np.ndarray:
    """The (width, height) pairs of the section: shape (anchors, 2)."""
    flat = section.numbers("anchors")
    count = section.integer("num", 1)
    if len(flat) != 2 * count:
        raise section.error(
            f"anchors has {len(flat)} numbers, expected two for each of num={count}", section.line_of("anchors")
        )
    return np.array(flat, np.float32).reshape(-1, 2)


def _raw_columns(graph: Graph, section: Section, source: Feature, anchors: int) -> _Columns:
    """The numbers of `source` with a row for each anchor of each cell, cells row by row."""
    classes = section.integer("classes", 20, minimum=1)
    if graph.classes not in (None, classes):
        raise section.error(f"classes={classes}, but there are {graph.classes} names", section.line_of("classes"))
    columns = 5 + classes
    if source.channels != anchors * columns:
        raise section.error(
            f"{anchors} anchors and {classes} classes need {anchors * columns} channels, "
            f"but the section before gives {source.channels}"
        )
    cells = source.height * source.width
    rows = cells * anchors
    if rows > _MAX_ROWS:
        raise section.error(f"gives {rows} boxes, at most {_MAX_ROWS} are allowed")
    name = graph.node("Reshape", [source.name, graph.ints([1, anchors, columns, cells])])
    name = graph.node("Transpose", [name], perm=[0, 3, 1, 2])
    name = graph.node("Reshape", [name, graph.ints([1, rows, columns])])
    bounds = {"centre": (0, 2), "size": (2, 4), "objectness": (4, 5), "classes": (5, columns)}
    return _Columns(
        **{
            column: graph.node("Slice", [name, graph.ints([start]), graph.ints([end]), graph.ints([2])])
            for column, (start, end) in bounds.items()
        }
    )


def _add_boxes(
    graph: Graph, section: Section, source: Feature, columns: _Columns, anchors: np.ndarray, stretch: float
) -> None:
    """Adds the boxes and scores of a section to the graph.

    :param columns: centres inside their cells (0 to 1), sizes in anchors, probabilities.
    :param anchors: shape (anchors, 2), relative to the image.
    :param stretch: how far a centre may leave its cell: 1 not at all, 2 half a cell to each side.
    """
    grid_y, grid_x, _ = np.mgrid[: source.height, : source.width, : len(anchors)]
    corner = np.stack([grid_x, grid_y], axis=-1).reshape(1, -1, 2).astype(np.float32)
    cells = np.array([source.width, source.height], np.float32)
    centre = graph.node("Mul", [columns.centre, graph.floats(stretch / cells)])
    centre = graph.node("Add", [centre, graph.floats((corner - (stretch - 1) / 2) / cells)])
    sizes = np.tile(anchors, (source.height * source.width, 1))[None]
    size = graph.node("Mul", [columns.size, graph.floats(sizes)])
    scores = graph.node("Mul", [columns.classes, columns.objectness])
    name = graph.node("Concat", [centre, size, scores], axis=2)
    graph.boxes.append(Boxes(name, corner.shape[1], section.integer("classes", 20, minimum=1)))
