"""Detections drawn onto an image."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from barevision.objects import Detection

# OpenCV's own font: Latin, Greek and Cyrillic, and by way of its second one Chinese, Japanese and Korean. It draws
# question marks for everything else.
_FONT = "sans"
_WEIGHT = 500
# OpenCV unpacks its fonts, 5 MB, for every thread that draws text, and keeps them as long as the thread lives. One
# thread draws all text, so that memory does not grow with the number of threads.
_TEXT_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text")
# A line of text is as high as this share of the square root of the image's area, or of its shorter side if that's less.
_TEXT_SHARE_OF_AREA, _TEXT_SHARE_OF_SIDE = 1 / 38, 1 / 9
_SMALLEST_TEXT = 11
_LINE_HEIGHT, _BASELINE = 1.3, 1.0
# A tag may be half as wide as the image, or so many times as wide as its text is high if that is more.
_LONGEST_TEXT = 12
# A box's line is as thick as this share of the square root of the image's area.
_STROKE_SHARE = 1 / 250
_CONTRAST_LUMA = 140
# A tag that would lie on others with more than this share of it is left out.
_MOST_COVERED = 0.05
# Tags may cover this share of the image in all.
_TAGS_SHARE = 1 / 3


@dataclass(frozen=True)
class _Tag:
    """A label's rectangle: its top left corner, and the drawn text, uint8 (height, width, 3) BGR."""

    left: int
    top: int
    pixels: np.ndarray


def annotate(image: np.ndarray, detections: Sequence[Detection]) -> np.ndarray:
    """A copy of `image`, uint8 (height, width, 3) BGR, with boxes and labels.

    Lines and texts grow with the image. Labels stay inside of it, clear of each other, and on a third of it at most:
    where there is no room for one it is shortened or left out, the least confident ones first.

    :param detections: the most confident first.
    """
    drawn = image.copy()
    height, width = image.shape[:2]
    thickness = max(1, round(math.sqrt(height * width) * _STROKE_SHARE))
    text_size = round(min(math.sqrt(height * width) * _TEXT_SHARE_OF_AREA, min(height, width) * _TEXT_SHARE_OF_SIDE))
    # The least confident ones are drawn first, so that the surest boxes and tags lie on top.
    for detection in reversed(detections):
        x, y, box_width, box_height = _visible_box(detection, (height, width))
        corners = (x, y), (x + box_width, y + box_height)
        # A rim keeps a box visible on what has its colour.
        cv2.rectangle(drawn, *corners, _readable_on(detection.color), thickness + 2 * round(thickness / 3))
        cv2.rectangle(drawn, *corners, detection.color, thickness)
    arguments = (height, width), detections, max(_SMALLEST_TEXT, text_size), thickness
    for tag in reversed(_TEXT_THREAD.submit(_place_tags, *arguments).result()):
        tag_height, tag_width = tag.pixels.shape[:2]
        drawn[tag.top : tag.top + tag_height, tag.left : tag.left + tag_width] = tag.pixels
    return drawn


def _visible_box(detection: Detection, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """x, y, width and height of the box, cut to what is just outside of an image of `size` (height, width)."""
    x, y, width, height = detection.box
    left, top = max(x, -size[1]), max(y, -size[0])
    return left, top, min(x + width, 2 * size[1]) - left, min(y + height, 2 * size[0]) - top


def _place_tags(size: tuple[int, int], detections: Sequence[Detection], text_size: int, thickness: int) -> list[_Tag]:
    """The tags of `detections` on an image of `size` (height, width), the first ones first to choose their place."""
    font, tags = cv2.FontFace(_FONT), []
    longest = min(size[1], max(size[1] // 2, _LONGEST_TEXT * text_size))
    taken, room = np.empty((0, 4)), size[0] * size[1] * _TAGS_SHARE
    for detection in detections:
        pixels = _draw_text(font, detection, text_size, longest)
        if pixels is None or pixels.shape[0] > size[0]:
            continue
        room -= pixels.shape[0] * pixels.shape[1]
        if room < 0 and tags:
            break
        places = np.array(list(_places(size, _visible_box(detection, size), pixels.shape[:2], thickness)))
        covered = _covered_shares(places, taken)
        best = covered.argmin()
        if covered[best] <= _MOST_COVERED:
            taken = np.concatenate([taken, places[best : best + 1]])
            left, top = places[best, :2].astype(int).tolist()
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
    for tag_left, tag_top in (*itertools.product(flush, tops), *itertools.product(beside, tops)):
        inner_left = math.floor(min(max(tag_left, 0), size[1] - tag_width))
        inner_top = math.floor(min(max(tag_top, 0), size[0] - tag_height))
        yield inner_left, inner_top, inner_left + tag_width, inner_top + tag_height


def _covered_shares(places: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Which share of each of the rectangles `places` (n, 4) lies on the rectangles `taken` (m, 4): (n,), 0 to 1."""
    ends = np.minimum(places[:, None, 2:], taken[None, :, 2:])
    starts = np.maximum(places[:, None, :2], taken[None, :, :2])
    overlaps = (ends - starts).clip(0).prod(axis=2)
    return overlaps.sum(axis=1) / (places[:, 2:] - places[:, :2]).prod(axis=1)


def _draw_text(font: cv2.FontFace, detection: Detection, size: int, longest: int) -> np.ndarray | None:
    """The label and its confidence on their colour, cut to `longest` pixels; None if not even three letters fit."""
    margin, height = max(2, size // 4), round(_LINE_HEIGHT * size)
    for text in _texts(detection):
        _, _, text_width, _ = cv2.getTextSize((0, 0), text, (0, 0), font, size, _WEIGHT)
        width = text_width + 2 * margin
        if width <= longest:
            text_color = _readable_on(detection.color)
            tag = np.full((height, width, 3), detection.color, np.uint8)
            cv2.putText(tag, text, (margin, round(_BASELINE * size)), text_color, font, size, _WEIGHT)
            # A rim parts the tag from a neighbour of its class.
            cv2.rectangle(tag, (0, 0), (width - 1, height - 1), text_color, max(1, size // 24))
            return tag
    return None


def _texts(detection: Detection) -> Iterator[str]:
    """What a tag may say, shorter and shorter."""
    # OpenCV knows no combining characters, and starts a new line at a line break.
    label = " ".join(unicodedata.normalize("NFC", detection.label).split())
    yield f"{label} {detection.confidence:.2f}".lstrip()
    yield label
    for length in range(min(len(label) - 1, 40), 2, -1):
        yield label[:length] + "…"


def _readable_on(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever stands out from the BGR `color` (luma of ITU-R BT.601)."""
    blue, green, red = color
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > _CONTRAST_LUMA else (255, 255, 255)
