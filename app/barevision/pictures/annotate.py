"""Detections drawn onto a picture."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

# OpenCV's own font: Latin, Greek and Cyrillic, and by way of its second one Chinese, Japanese and Korean. What it
# doesn't have it draws as question marks.
_FONT = "sans"
_WEIGHT = 500
# OpenCV unpacks its fonts, 5 MB, for every thread that writes, and keeps them as long as the thread lives.
_WRITER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
# Of the square root of the area, and of the shorter side.
_TEXT_SHARES = 1 / 38, 1 / 9
_SMALLEST_TEXT = 11
# In lines' heights, where half of the picture's width is less.
_LONGEST_TEXT = 12
_LINE_SHARE = 1 / 250
_LINE_HEIGHT, _BASELINE = 1.3, 1.0
_CONTRAST_LUMA = 140
# A tag that others would cover by more than this part is left out, and so are all that come when the picture has as
# many as it can bear.
_MOST_COVERED = 0.05
_TAGS_SHARE = 1 / 3


@dataclass(frozen=True)
class _Tag:
    """A label's rectangle: its top left corner, and the drawn text, uint8 (height, width, 3) BGR."""

    left: int
    top: int
    pixels: np.ndarray


def annotate(image: np.ndarray, predictions: Iterable[dict]) -> np.ndarray:
    """A copy of `image`, uint8 (height, width, 3) BGR, with boxes and labels.

    Lines and texts grow with the picture. Labels stay inside of it, clear of each other, and on a third of it at most:
    where there is no room for one it is shortened or left out, the least confident ones first.

    :param predictions: objects as `/predict` answers them: `boxes` [x, y, width, height], `color`, `label`,
        `confidence`; the most confident first.
    """
    picture = image.copy()
    predictions = list(predictions)
    text_size = _text_size(*image.shape[:2])
    thickness = max(1, round(math.sqrt(image.shape[0] * image.shape[1]) * _LINE_SHARE))
    # The least confident first, so that the surest boxes lie on top.
    for prediction in reversed(predictions):
        _draw_box(picture, prediction, thickness)
    tags = _WRITER.submit(_place_tags, image.shape[:2], predictions, text_size, thickness).result()
    for tag in reversed(tags):
        height, width = tag.pixels.shape[:2]
        picture[tag.top : tag.top + height, tag.left : tag.left + width] = tag.pixels
    return picture


def _text_size(height: int, width: int) -> int:
    """How many pixels high the texts' lines are."""
    lengths = math.sqrt(height * width), min(height, width)
    return max(_SMALLEST_TEXT, round(min(length * share for length, share in zip(lengths, _TEXT_SHARES, strict=True))))


def _draw_box(picture: np.ndarray, prediction: dict, thickness: int) -> None:
    x, y, width, height = _box(picture.shape[:2], prediction)
    color = _color(prediction)
    # A rim keeps a box visible on what has its colour.
    cv2.rectangle(picture, (x, y), (x + width, y + height), _readable_on(color), thickness + 2 * round(thickness / 3))
    cv2.rectangle(picture, (x, y), (x + width, y + height), color, thickness)


def _box(size: tuple[int, int], prediction: dict) -> tuple[int, int, int, int]:
    """x, y, width and height, cut to what is just outside of a picture of `size` (height, width)."""
    x, y, width, height = prediction["boxes"]
    left, top = max(x, -size[1]), max(y, -size[0])
    return left, top, min(x + width, 2 * size[1]) - left, min(y + height, 2 * size[0]) - top


def _place_tags(size: tuple[int, int], predictions: list[dict], text_size: int, thickness: int) -> list[_Tag]:
    """The tags of `predictions`, the first ones first to choose their place."""
    font, tags = cv2.FontFace(_FONT), []
    longest = min(size[1], max(size[1] // 2, _LONGEST_TEXT * text_size))
    taken, room = np.empty((0, 4)), size[0] * size[1] * _TAGS_SHARE
    for prediction in predictions:
        pixels = _draw_text(font, prediction, text_size, longest)
        if pixels is None or pixels.shape[0] > size[0]:
            continue
        room -= pixels.shape[0] * pixels.shape[1]
        if room < 0 and tags:
            break
        rectangles = np.array(list(_places(size, _box(size, prediction), pixels.shape[:2], thickness)))
        covered = _covered(rectangles, taken)
        best = covered.argmin()
        if covered[best] <= _MOST_COVERED:
            taken = np.concatenate([taken, rectangles[best : best + 1]])
            left, top = rectangles[best, :2].astype(int).tolist()
            tags.append(_Tag(left, top, pixels))
    return tags


def _places(
    size: tuple[int, int], box: tuple[int, int, int, int], tag: tuple[int, int], thickness: int
) -> Iterator[tuple[float, float, float, float]]:
    """Where a tag of (height, width) may lie at `box`, the best place first: (left, top, right, bottom), all inside."""
    x, y, width, height = box
    tag_height, tag_width = tag
    half = thickness / 2
    left, top, right, bottom = x - half, y - half, x + width + half, y + height + half
    flush, beside = (left, right - tag_width, (left + right - tag_width) / 2), (right, left - tag_width)
    tops = [top - tag_height, top, bottom, bottom - tag_height]
    if tops[0] < 0:
        tops = [*tops[1:], 0]
    # At the box's upper or lower edge, and then beside it.
    for wanted_left, wanted_top in (*itertools.product(flush, tops), *itertools.product(beside, tops)):
        clear_left = math.floor(min(max(wanted_left, 0), size[1] - tag_width))
        clear_top = math.floor(min(max(wanted_top, 0), size[0] - tag_height))
        yield clear_left, clear_top, clear_left + tag_width, clear_top + tag_height


def _covered(rectangles: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Which part of each of the `rectangles` lies on `taken` ones."""
    if not len(taken):
        return np.zeros(len(rectangles))
    corners = rectangles[:, None], taken[None]
    overlap = np.minimum(corners[0][..., 2:], corners[1][..., 2:]) - np.maximum(
        corners[0][..., :2], corners[1][..., :2]
    )
    areas = (rectangles[:, 2:] - rectangles[:, :2]).prod(axis=1)
    return overlap.clip(0).prod(axis=2).sum(axis=1) / areas


def _draw_text(font: cv2.FontFace, prediction: dict, size: int, room: int) -> np.ndarray | None:
    """The label and its confidence on their colour, as much of it as is not wider than `room`; None if that is none."""
    margin, height = max(2, size // 4), round(_LINE_HEIGHT * size)
    for text in _texts(prediction):
        _, _, text_width, _ = cv2.getTextSize((0, 0), text, (0, 0), font, size, _WEIGHT)
        width = text_width + 2 * margin
        if width <= room:
            color = _color(prediction)
            tag = np.full((height, width, 3), color, np.uint8)
            cv2.putText(tag, text, (margin, round(_BASELINE * size)), _readable_on(color), font, size, _WEIGHT)
            # A rim parts it from a neighbour of its class.
            cv2.rectangle(tag, (0, 0), (width - 1, height - 1), _readable_on(color), max(1, size // 24))
            return tag
    return None


def _texts(prediction: dict) -> Iterator[str]:
    """What a tag may say, shorter and shorter."""
    # OpenCV knows no combining characters, and starts a new line where it is told to.
    label = " ".join(unicodedata.normalize("NFC", prediction["label"]).split())
    yield f"{label} {prediction['confidence']:.2f}".lstrip()
    yield label
    for length in range(min(len(label) - 1, 40), 2, -1):
        yield label[:length] + "…"


def _color(prediction: dict) -> tuple[int, int, int]:
    blue, green, red = prediction["color"]
    return int(blue), int(green), int(red)


def _readable_on(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever stands out from the BGR `color` (luma of ITU-R BT.601)."""
    blue, green, red = color
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > _CONTRAST_LUMA else (255, 255, 255)
