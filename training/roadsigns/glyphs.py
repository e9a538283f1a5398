"""Letters and digits as strokes, drawn without a font file.

A glyph is a list of polylines in a cell one unit high (y down) and `width` units wide. Road signs use
plain stroke letters of even weight, which thick polylines resemble better than OpenCV's fonts do.
"""

import cv2
import numpy as np


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> list:
    """Points on an ellipse from `start` to `end` degrees (0 is right, 90 is down)."""
    angles = np.radians(np.linspace(start, end, max(4, int(abs(end - start) / 12))))
    return [(cx + rx * np.cos(a), cy + ry * np.sin(a)) for a in angles]


GLYPHS = {
    "0": (0.56, [_arc(0.28, 0.28, 0.28, 0.28, 180, 360) + _arc(0.28, 0.72, 0.28, 0.28, 0, 180) + [(0, 0.28)]]),
    "1": (0.30, [[(0, 0.22), (0.26, 0), (0.26, 1)]]),
    "2": (0.54, [[*_arc(0.27, 0.27, 0.27, 0.27, 190, 390), (0, 1), (0.54, 1)]]),
    "3": (0.54, [[(0.02, 0), (0.5, 0), (0.24, 0.38), *_arc(0.24, 0.69, 0.3, 0.31, 270, 510)]]),
    "4": (0.60, [[(0.34, 0), (0, 0.72), (0.6, 0.72)], [(0.44, 0.42), (0.44, 1)]]),
    "5": (0.54, [[(0.5, 0), (0.08, 0), (0.04, 0.46), *_arc(0.25, 0.68, 0.29, 0.32, 225, 500)]]),
    "6": (0.56, [[(0.42, 0), (0.06, 0.52), *_arc(0.28, 0.7, 0.28, 0.3, 215, 575)]]),
    "7": (0.52, [[(0, 0), (0.52, 0), (0.16, 1)]]),
    "8": (0.54, [_arc(0.27, 0.25, 0.23, 0.25, 90, 450), _arc(0.27, 0.75, 0.27, 0.25, -90, 270)]),
    "9": (0.56, [[(0.14, 1), (0.5, 0.48), *_arc(0.28, 0.3, 0.28, 0.3, 35, 395)]]),
    "S": (0.56, [_arc(0.28, 0.25, 0.27, 0.25, 340, 90) + _arc(0.28, 0.75, 0.28, 0.25, -90, 165)]),
    "T": (0.56, [[(0, 0), (0.56, 0)], [(0.28, 0), (0.28, 1)]]),
    "O": (0.58, [_arc(0.29, 0.29, 0.29, 0.29, 180, 360) + _arc(0.29, 0.71, 0.29, 0.29, 0, 180) + [(0, 0.29)]]),
    "P": (0.52, [[(0, 1), (0, 0), (0.26, 0), *_arc(0.26, 0.27, 0.26, 0.27, -90, 90), (0, 0.54)]]),
    "A": (0.62, [[(0, 1), (0.31, 0), (0.62, 1)], [(0.12, 0.66), (0.5, 0.66)]]),
    "L": (0.48, [[(0, 0), (0, 1), (0.48, 1)]]),
    "R": (
        0.54,
        [[(0, 1), (0, 0), (0.26, 0), *_arc(0.26, 0.26, 0.26, 0.26, -90, 90), (0, 0.52)], [(0.26, 0.52), (0.54, 1)]],
    ),
    "E": (0.48, [[(0.48, 0), (0, 0), (0, 1), (0.48, 1)], [(0, 0.5), (0.42, 0.5)]]),
    "K": (0.56, [[(0, 0), (0, 1)], [(0.54, 0), (0, 0.55)], [(0.18, 0.40), (0.56, 1)]]),
    "M": (0.70, [[(0, 1), (0, 0), (0.35, 0.7), (0.7, 0), (0.7, 1)]]),
    "H": (0.56, [[(0, 0), (0, 1)], [(0.56, 0), (0.56, 1)], [(0, 0.5), (0.56, 0.5)]]),
    "N": (0.58, [[(0, 1), (0, 0), (0.58, 1), (0.58, 0)]]),
    "C": (0.56, [_arc(0.29, 0.29, 0.28, 0.29, 340, 180) + _arc(0.29, 0.71, 0.28, 0.29, 180, 20)]),
    "I": (0.04, [[(0.02, 0), (0.02, 1)]]),
}


def draw_text(mask: np.ndarray, text: str, box: tuple[float, float, float, float], weight: float, gap: float) -> None:
    """Draw `text` in white, stretched to fill `box`, on a uint8 mask.

    Args:
        mask: image of any channel count, changed in place.
        text: characters of GLYPHS and blanks.
        box: x, y, width, height in pixels of the strokes' outer edges.
        weight: stroke width as a share of the box's height, 0.08 (thin) to 0.25 (black).
        gap: space between letters in units of the box's height.
    """
    x, y, width, height = box
    stroke = max(1, round(weight * height))
    widths = [GLYPHS[c][0] if c in GLYPHS else 0.3 for c in text]
    total = sum(widths) + (gap + weight) * (len(text) - 1)
    scale_x = (width - stroke) / max(total, 0.05)
    left, top = x + stroke / 2, y + stroke / 2
    for character, glyph_width in zip(text, widths, strict=True):
        for line in GLYPHS.get(character, (0, []))[1]:
            points = np.array(line) * (scale_x, height - stroke) + (left, top)
            fixed = np.round(points * 16).astype(np.int32)
            cv2.polylines(mask, [fixed], False, (255,) * 4, stroke, cv2.LINE_AA, 4)
        left += (glyph_width + gap + weight) * scale_x
