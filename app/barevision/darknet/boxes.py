"""The sections of a Darknet network that detect: boxes and scores, made of the numbers that each cell answers.

Each function adds its section's nodes to the graph and its boxes to `Graph.boxes`. It returns its input, because the
next section takes that as its source unless it names another.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from barevision.darknet.builder import Boxes, Feature, Graph
from barevision.darknet.config import Section

# Boxes of one section: far above every published network.
_MAX_ROWS = 2**20
# What a row of a [yolo] or [region] section has before its classes, and how many numbers each.
_WIDTHS = {"centre": 2, "size": 2, "objectness": 1}


@dataclass(frozen=True)
class _Columns:
    """The names of ONNX values of shape (1, rows, n), a row for each anchor of each cell."""

    centre: str
    size: str
    objectness: str
    classes: str


def yolo(graph: Graph, section: Section, source: Feature) -> Feature:
    """The head of YOLOv3 and later, whose anchors are in pixels of the network's input."""
    anchors = _masked_anchors(graph, section)
    raw = _raw_columns(graph, section, source, len(anchors))
    if section.integer("new_coords", 0):
        # The convolution before it is logistic already. A size is (2 x)² anchors; the anchors take the factor 4.
        columns = _Columns(**{**raw, "size": graph.node("Mul", [raw["size"], raw["size"]])})
        anchors = 4 * anchors
    else:
        columns = _Columns(
            centre=graph.node("Sigmoid", [raw["centre"]]),
            size=graph.node("Exp", [raw["size"]]),
            objectness=graph.node("Sigmoid", [raw["objectness"]]),
            classes=graph.node("Sigmoid", [raw["classes"]]),
        )
    _add_boxes(graph, section, source, columns, anchors, stretch=section.number("scale_x_y", 1.0))
    return source


def gaussian_yolo(graph: Graph, section: Section, source: Feature) -> Feature:
    """The head of Gaussian YOLOv3, which answers how uncertain each of a box's numbers is. Scores are lowered by it.

    Source: get_gaussian_yolo_detections in Darknet's gaussian_yolo_layer.c.
    """
    section.choice("yolo_point", ("center",), "center")
    anchors = _masked_anchors(graph, section)
    names = ("x", "x_sigma", "y", "y_sigma", "width", "width_sigma", "height", "height_sigma", "objectness")
    raw = _raw_columns(graph, section, source, len(anchors), dict.fromkeys(names, 1))
    sigmoid = {name: graph.node("Sigmoid", [raw[name]]) for name in raw if name not in ("width", "height")}
    sigmas = graph.node("Sum", [sigmoid[name] for name in names if name.endswith("sigma")])
    certainty = graph.node("Sub", [graph.floats(1), graph.node("Mul", [sigmas, graph.floats(0.25)])])
    columns = _Columns(
        centre=graph.node("Concat", [sigmoid["x"], sigmoid["y"]], axis=2),
        size=graph.node("Exp", [graph.node("Concat", [raw["width"], raw["height"]], axis=2)]),
        objectness=graph.node("Mul", [sigmoid["objectness"], certainty]),
        classes=sigmoid["classes"],
    )
    _add_boxes(graph, section, source, columns, anchors, stretch=section.number("scale_x_y", 1.0))
    return source


def region(graph: Graph, section: Section, source: Feature) -> Feature:
    """The head of YOLOv2, whose anchors are in cells. Source: forward_region_layer in Darknet's region_layer.c."""
    if section.integer("coords", 4) != 4:
        raise section.error("coords must be 4 (boxes)", section.line_of("coords"))
    count = section.integer("num", 1)
    anchors = _anchors(section)[:count]
    if len(anchors) < count:
        raise section.error(
            f"anchors has {len(anchors)} pairs of numbers, expected one for each of num={count}",
            section.line_of("anchors"),
        )
    anchors = anchors / np.array([source.width, source.height], np.float32)
    raw = _raw_columns(graph, section, source, len(anchors))
    if section.integer("softmax", 0):
        classes = graph.node("Softmax", [raw["classes"]], axis=2)
    else:
        classes = graph.node("Sigmoid", [raw["classes"]])
    columns = _Columns(
        centre=graph.node("Sigmoid", [raw["centre"]]),
        size=graph.node("Exp", [raw["size"]]),
        objectness=graph.node("Sigmoid", [raw["objectness"]]),
        classes=classes,
    )
    _add_boxes(graph, section, source, columns, anchors, stretch=1.0)
    return source


def _masked_anchors(graph: Graph, section: Section) -> np.ndarray:
    """The anchors that `section` chooses, relative to the image: shape (anchors, 2)."""
    anchors = _anchors(section)
    mask = section.integers("mask", list(range(section.integer("num", 1))))
    if any(not 0 <= number < len(anchors) for number in mask):
        line = section.line_of("mask" if "mask" in section.options else "num")
        raise section.error(f"mask={mask}, expected numbers from 0 to {len(anchors) - 1}", line)
    return anchors[mask] / np.array([graph.image.width, graph.image.height], np.float32)


def _anchors(section: Section) -> np.ndarray:
    """The (width, height) pairs of the section: shape (anchors, 2)."""
    flat = section.numbers("anchors")
    if len(flat) % 2:
        raise section.error(f"anchors has {len(flat)} numbers, expected pairs", section.line_of("anchors"))
    return np.array(flat, np.float32).reshape(-1, 2)


def _raw_columns(
    graph: Graph, section: Section, source: Feature, anchors: int, widths: dict[str, int] = _WIDTHS
) -> dict[str, str]:
    """The numbers of `source` with a row for each anchor of each cell, cells row by row, taken apart by columns.

    :param widths: how many numbers each part of a row has; the rest of it are the classes.
    :returns: the names of ONNX values of shape (1, rows, width), by part.
    """
    classes = section.integer("classes", 20, minimum=1)
    if graph.classes not in (None, classes):
        raise section.error(f"classes={classes}, but there are {graph.classes} names", section.line_of("classes"))
    widths = {**widths, "classes": classes}
    columns = sum(widths.values())
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
    ends = itertools.accumulate(widths.values())
    return {
        part: graph.node("Slice", [name, graph.ints([end - width]), graph.ints([end]), graph.ints([2])])
        for (part, width), end in zip(widths.items(), ends, strict=True)
    }


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
