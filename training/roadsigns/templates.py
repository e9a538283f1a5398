"""Drawings of road signs and of things that look like them, face on, before any camera.

Every drawing is a `Template`: a BGRA picture with premultiplied alpha, SIZE pixels square, and the
outline of the thing in unit coordinates, from which the box in a scene is computed.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from training.roadsigns.glyphs import draw_text

SIZE = 256
CANVAS = 384
NAMES = ("stop", "give way", "no entry", "speed limit", "crossing", "roundabout")

Colour = tuple[int, int, int]
Random = np.random.Generator


@dataclass
class Template:
    """A drawing: `image` is float32 (SIZE, SIZE, 4) BGRA, premultiplied, 0 to 1; `outline` (n, 2)
    in 0 to 1; `label` is the class's index in NAMES, or -1 for a thing that is no sign of ours."""

    image: np.ndarray
    outline: np.ndarray
    label: int


class Pen:
    """A canvas of CANVAS pixels with an alpha mask; coordinates run from -1 to 1, y down."""

    def __init__(self) -> None:
        self.colour = np.zeros((CANVAS, CANVAS, 3), np.uint8)
        self.alpha = np.zeros((CANVAS, CANVAS), np.uint8)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Fixed-point pixels (1/16) of unit points, with a margin of 2 % around the unit square."""
        return np.round(((np.asarray(points) * 0.48 + 0.5) * CANVAS) * 16).astype(np.int32)

    def fill(self, points: np.ndarray, colour: Colour, body: bool = False) -> None:
        """Fill a polygon; `body` makes it part of the thing's own shape."""
        fixed = self.pixels(points)
        cv2.fillPoly(self.colour, [fixed], colour, cv2.LINE_AA, 4)
        if body:
            cv2.fillPoly(self.colour, [fixed], colour, cv2.LINE_8, 4)
            cv2.fillPoly(self.alpha, [fixed], 255, cv2.LINE_AA, 4)

    def line(self, points: np.ndarray, colour: Colour, width: float, closed: bool = False) -> None:
        """Draw a polyline `width` units wide."""
        thickness = max(1, round(width * 0.48 * CANVAS))
        cv2.polylines(self.colour, [self.pixels(points)], closed, colour, thickness, 16, 4)

    def text(self, rng: Random, text: str, box: tuple, colour: Colour, weight: float) -> None:
        """Write `text` into the box (x, y, width, height), in stroke letters or a font of OpenCV's."""
        x, y = (np.array(box[:2]) * 0.48 + 0.5) * CANVAS
        width, height = np.array(box[2:]) * 0.48 * CANVAS
        mask = np.zeros((CANVAS, CANVAS), np.uint8)
        if rng.random() < 0.6:
            draw_text(mask, text, (x, y, width, height), weight, rng.uniform(0.06, 0.16))
        else:
            _font_text(mask, rng, text, (x, y, width, height))
        blend = (mask / 255.0)[..., None]
        self.colour[:] = self.colour * (1 - blend) + np.array(colour) * blend

    def done(self, outline: np.ndarray, label: int = -1) -> Template:
        """The finished template."""
        bgra = np.dstack([self.colour, self.alpha]).astype(np.float32) / 255
        bgra[..., :3] *= bgra[..., 3:]
        image = cv2.resize(bgra, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        return Template(image, np.asarray(outline, np.float32) * 0.48 + 0.5, label)


def _font_text(mask: np.ndarray, rng: Random, text: str, box: tuple) -> None:
    """Text in one of OpenCV's fonts, stretched into the box."""
    face = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX]))
    thickness = int(rng.integers(5, 10))
    (width, height), below = cv2.getTextSize(text, face, 3.0, thickness)
    patch = np.zeros((height + below + 40, width + 40), np.uint8)
    cv2.putText(patch, text, (20, height + 20), face, 3.0, 255, thickness, cv2.LINE_AA)
    x, y, width, height = cv2.boundingRect(patch)
    target = tuple(int(v) for v in np.maximum(np.round(box[2:]), 1))
    patch = cv2.resize(patch[y : y + height, x : x + width], target, interpolation=cv2.INTER_AREA)
    left, top = (max(0, round(float(v))) for v in box[:2])
    area = mask[top : top + target[1], left : left + target[0]]
    area[:] = patch[: area.shape[0], : area.shape[1]]


# ---- shapes, in units -------------------------------------------------------------------------


def polygon(corners: int, turn: float = 0.0, radius: float = 1.0) -> np.ndarray:
    """A regular polygon; `turn` in degrees moves its first corner on from the right-hand side."""
    angles = np.radians(turn + np.arange(corners) * 360 / corners)
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def circle(radius: float = 1.0) -> np.ndarray:
    return polygon(64, 0, radius)


def octagon(radius: float = 1.0) -> np.ndarray:
    """An octagon with a flat top that is `radius` from its centre to the flats."""
    return polygon(8, 22.5, radius / np.cos(np.radians(22.5)))


def square(radius: float = 1.0) -> np.ndarray:
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * radius


def rounded(points: np.ndarray, radius: float) -> np.ndarray:
    """A convex polygon with its corners cut to arcs of about `radius` units."""
    result = []
    for before, corner, after in zip(np.roll(points, 1, 0), points, np.roll(points, -1, 0), strict=True):
        first = corner + (before - corner) * min(1, radius / np.linalg.norm(before - corner))
        last = corner + (after - corner) * min(1, radius / np.linalg.norm(after - corner))
        for t in np.linspace(0, 1, 6)[:, None]:
            result.append(((1 - t) ** 2) * first + 2 * t * (1 - t) * corner + t**2 * last)
    return np.array(result).reshape(-1, 2)


def star(points: int, inner: float, turn: float = -90) -> np.ndarray:
    shape = polygon(points * 2, turn)
    shape[1::2] *= inner
    return shape


def moved(points: np.ndarray, x: float, y: float) -> np.ndarray:
    return np.add(points, (x, y))


def rotated(points: np.ndarray, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(points) @ np.array([[c, s], [-s, c]])


# ---- colours, BGR -----------------------------------------------------------------------------


def colour(rng: Random, hue: float, saturation: tuple, value: tuple, spread: float = 4) -> Colour:
    """A BGR colour near `hue` (0 to 180, OpenCV's scale), saturation and value drawn from ranges."""
    h = (hue + rng.normal(0, spread)) % 180
    hsv = np.uint8([[[h, rng.uniform(*saturation) * 255, rng.uniform(*value) * 255]]])
    return tuple(int(v) for v in cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0])


def red(rng: Random) -> Colour:
    if rng.random() < 0.15:
        return colour(rng, 178, (0.45, 0.8), (0.55, 0.9), 5)
    return colour(rng, 178, (0.78, 1.0), (0.55, 0.92))


def blue(rng: Random) -> Colour:
    return colour(rng, 108, (0.65, 1.0), (0.45, 0.9), 5)


def white(rng: Random) -> Colour:
    return colour(rng, rng.uniform(0, 180), (0.0, 0.10), (0.82, 1.0))


def black(rng: Random) -> Colour:
    return colour(rng, rng.uniform(0, 180), (0.0, 0.4), (0.03, 0.2))


def any_colour(rng: Random) -> Colour:
    kind = rng.integers(4)
    if kind == 0:
        return white(rng) if rng.random() < 0.6 else black(rng)
    if kind == 1:
        return red(rng) if rng.random() < 0.6 else blue(rng)
    return colour(rng, rng.uniform(0, 180), (0.2, 1.0), (0.2, 1.0))


# ---- the six signs ----------------------------------------------------------------------------


def stop(rng: Random) -> Template:
    pen, paint, light = Pen(), red(rng), white(rng)
    rim = rng.uniform(0.02, 0.08)
    if rng.random() < 0.1:
        pen.fill(octagon(), paint, body=True)
        pen.fill(octagon(1 - rim), light)
        pen.fill(octagon(1 - 1.9 * rim), paint)
    else:
        pen.fill(octagon(), light, body=True)
        pen.fill(octagon(1 - rim), paint)
    word = str(rng.choice(["STOP", "ALTO", "PARE", "ARRET"], p=[0.88, 0.05, 0.04, 0.03]))
    height, width = rng.uniform(0.54, 0.84), rng.uniform(1.30, 1.70)
    middle = rng.normal(0, 0.02)
    box = (-width / 2, middle - height / 2, width, height)
    pen.text(rng, word, box, light, rng.uniform(0.08, 0.22))
    if rng.random() < 0.3:
        for y in (-0.84, 0.84):
            pen.fill(moved(circle(0.035), 0, y), colour(rng, 0, (0, 0.2), (0.2, 0.7)))
    return pen.done(octagon(), 0)


def give_way(rng: Random) -> Template:
    pen = Pen()
    shape = np.array([(-1, -0.87), (1, -0.87), (0, 0.87)])
    rim = rng.uniform(0.18, 0.30)
    outer = rounded(shape, rng.uniform(0.06, 0.22))
    inner = rounded(shape * (1 - rim * 1.9) - (0, 0.29 * rim * 1.9), rng.uniform(0.02, 0.08))
    if rng.random() < 0.4:
        pen.fill(outer, white(rng), body=True)
        pen.fill(moved(moved(outer, 0, 0.3) * 0.95, 0, -0.3), red(rng))
    else:
        pen.fill(outer, red(rng), body=True)
    light = white(rng)
    if rng.random() < 0.07:
        light = colour(rng, 26, (0.7, 1), (0.8, 1))
    pen.fill(inner, light)
    if rng.random() < 0.12:
        word = str(rng.choice(["CEDE EL PASO", "PARE", "CEDA"]))
        pen.text(rng, word.replace("D", "O"), (-0.4, -0.5, 0.8, 0.22), black(rng), 0.16)
    return pen.done(outer, 1)


def no_entry(rng: Random) -> Template:
    pen, paint, light = Pen(), red(rng), white(rng)
    pen.fill(circle(), light if rng.random() < 0.5 else paint, body=True)
    pen.fill(circle(rng.uniform(0.93, 0.98)), paint)
    half, height = rng.uniform(0.66, 0.82), rng.uniform(0.13, 0.21)
    bar = square() * (half, height)
    pen.fill(rounded(bar, 0.06) if rng.random() < 0.3 else bar, light)
    return pen.done(circle(), 2)


def speed_limit(rng: Random) -> Template:
    pen, light = Pen(), white(rng)
    if rng.random() < 0.06:
        light = colour(rng, 26, (0.7, 1), (0.8, 1))
    paint = red(rng)
    edged = rng.random() < 0.4
    pen.fill(circle(), light if edged else paint, body=True)
    if edged:
        pen.fill(circle(rng.uniform(0.94, 0.98)), paint)
    inner = rng.uniform(0.70, 0.84)
    pen.fill(circle(inner), light)
    values = ["5", "10", "15", "20", "25", "30", "35", "40", "45", "50", "60", "70", "80", "90"]
    value = str(rng.choice([*values, "100", "110", "120", "130"]))
    width = {1: rng.uniform(0.32, 0.42), 2: rng.uniform(0.74, 0.98)}.get(len(value), rng.uniform(0.98, 1.12))
    height = rng.uniform(0.62, 0.86) if len(value) < 3 else rng.uniform(0.5, 0.66)
    fit = min(1, inner * 0.94 / np.hypot(width / 2, height / 2))
    width, height = width * fit, height * fit
    unit = rng.random() < 0.1
    box = (-width / 2, -height / 2 - 0.1 * unit, width, height)
    pen.text(rng, value, box, black(rng), rng.uniform(0.12, 0.20))
    if unit:
        pen.text(rng, "KM H", (-0.22, 0.36, 0.44, 0.14), black(rng), 0.16)
    return pen.done(circle(), 3)


def _walker(pen: Pen, rng: Random, ink: Colour, size: float, foot: float) -> None:
    """A person who walks, `size` units tall, whose feet are at y = `foot`."""

    def at(*points: tuple) -> np.ndarray:
        return np.array(points) * size * (side, 1) + (0, foot)

    side = rng.choice([-1, 1])
    stride, swing = rng.uniform(0.16, 0.30), rng.uniform(0.12, 0.24)
    limb = rng.uniform(0.09, 0.14) * size
    lean = rng.uniform(-0.02, 0.06)
    hip, neck = (0, -0.46), (lean, -0.80)
    pen.fill(circle(rng.uniform(0.075, 0.10) * size) + at((lean * 1.3, -0.91))[0], ink)
    pen.line(at(hip, neck), ink, limb * rng.uniform(1.2, 1.8))
    pen.line(at(hip, (stride * 0.6, -0.24), (stride, 0)), ink, limb)
    pen.line(at(hip, (-stride * 0.4, -0.24), (-stride, -0.02)), ink, limb)
    pen.line(at(neck, (swing * 0.9, -0.64), (swing * 1.5, -0.52)), ink, limb * 0.75)
    pen.line(at(neck, (-swing * 0.8, -0.62), (-swing, -0.46)), ink, limb * 0.75)


def crossing(rng: Random) -> Template:
    pen, paint, light = Pen(), blue(rng), white(rng)
    tall = rng.uniform(1.0, 1.12) if rng.random() < 0.8 else rng.uniform(1.2, 1.4)
    body = rounded(square() * (1 / tall, 1), rng.uniform(0.02, 0.18))
    pen.fill(body, light if rng.random() < 0.5 else paint, body=True)
    pen.fill(body * rng.uniform(0.92, 0.98), paint)
    half = rng.uniform(0.68, 0.84) / tall
    top, bottom = rng.uniform(-0.82, -0.62), rng.uniform(0.56, 0.76)
    pen.fill(np.array([(0, top), (half, bottom), (-half, bottom)]), light)
    ink = black(rng) if rng.random() < 0.85 else paint
    height = (bottom - top) * rng.uniform(0.55, 0.68)
    foot = bottom - rng.uniform(0.04, 0.14)
    for _ in range(int(rng.integers(0, 5))):
        x = rng.uniform(-0.8, 0.8) * half
        pen.line(np.array([(x, bottom - 0.10), (x * 1.12, bottom - 0.01)]), ink, 0.05)
    _walker(pen, rng, ink, height, foot)
    return pen.done(body, 4)


def roundabout(rng: Random) -> Template:
    pen, paint, light = Pen(), blue(rng), white(rng)
    pen.fill(circle(), light if rng.random() < 0.6 else paint, body=True)
    pen.fill(circle(rng.uniform(0.92, 0.98)), paint)
    direction = -1 if rng.random() < 0.8 else 1
    radius, width = rng.uniform(0.44, 0.58), rng.uniform(0.13, 0.22)
    turn, sweep = rng.uniform(0, 120), rng.uniform(62, 84)
    head = rng.uniform(0.17, 0.24)
    for arrow in range(3):
        start = turn + arrow * 120
        angles = np.radians(start + direction * np.linspace(0, sweep, 14))
        arc = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        pen.line(arc, light, width)
        tangent = direction * np.array([-np.sin(angles[-1]), np.cos(angles[-1])])
        normal = arc[-1] / radius
        tip = arc[-1] + tangent * head * 1.5
        pen.fill(np.array([tip, arc[-1] + normal * head, arc[-1] - normal * head]), light)
    return pen.done(circle(), 5)


SIGNS = (stop, give_way, no_entry, speed_limit, crossing, roundabout)


# ---- things that are not signs of ours --------------------------------------------------------


def back_of_sign(rng: Random) -> Template:
    pen = Pen()
    shape = (octagon(), circle(), square(), np.array([(-1, -0.87), (1, -0.87), (0, 0.87)]))
    outline = shape[rng.integers(4)]
    grey = colour(rng, 105, (0.0, 0.15), (0.3, 0.8))
    pen.fill(outline, grey, body=True)
    for y in rng.uniform(-0.5, 0.5, rng.integers(1, 3)):
        pen.line(np.array([(-0.8, y), (0.8, y)]), tuple(int(c * 0.8) for c in grey), 0.08)
    return pen.done(outline)


def clock(rng: Random) -> Template:
    pen = Pen()
    face, ink = (white(rng), black(rng)) if rng.random() < 0.8 else (black(rng), white(rng))
    rim = any_colour(rng) if rng.random() < 0.6 else black(rng)
    pen.fill(circle(), rim, body=True)
    inner = rng.uniform(0.72, 0.95)
    pen.fill(circle(inner), face)
    marks = rng.integers(3)
    for hour in range(12):
        a = np.radians(hour * 30)
        way = np.array([np.sin(a), -np.cos(a)])
        if marks == 0:
            box = (*(way * inner * 0.8 - 0.08), 0.16, 0.16)
            pen.text(rng, str(hour or 12), box, ink, 0.16)
        elif marks == 1 or hour % 3 == 0:
            pen.line(np.array([way * inner * 0.78, way * inner * 0.94]), ink, 0.05)
    for length, width in ((0.5, 0.07), (0.72, 0.05)):
        a = rng.uniform(0, 2 * np.pi)
        tip = np.array([np.sin(a), -np.cos(a)]) * inner * length
        pen.line(np.array([-tip * 0.15, tip]), ink, width)
    return pen.done(circle())


def warning_triangle(rng: Random) -> Template:
    pen = Pen()
    shape = np.array([(-1, 0.87), (1, 0.87), (0, -0.87)])
    outer = rounded(shape, rng.uniform(0.05, 0.2))
    pen.fill(outer, red(rng) if rng.random() < 0.75 else black(rng), body=True)
    light = white(rng) if rng.random() < 0.6 else colour(rng, 26, (0.6, 1), (0.7, 1))
    rim = rng.uniform(0.2, 0.45)
    pen.fill(shape * (1 - rim) + (0, 0.29 * rim), light)
    _symbol(pen, rng, black(rng), 0.4, (0, 0.25))
    return pen.done(outer)


def other_sign(rng: Random) -> Template:
    """True road signs of other kinds: no parking, no stopping, other prohibitions, arrows, priority."""
    pen, kind = Pen(), rng.integers(8)
    if kind < 2:
        outline = circle()
        pen.fill(outline, red(rng), body=True)
        pen.fill(circle(rng.uniform(0.72, 0.85)), blue(rng) if kind else white(rng))
        if kind == 0:
            _symbol(pen, rng, black(rng), 0.5, (0, 0))
        paint = red(rng)
        for degrees in (45, -45)[: rng.integers(1, 3)]:
            pen.line(rotated([(-0.75, 0), (0.75, 0)], degrees), paint, 0.16)
    elif kind == 2:
        outline = circle()
        pen.fill(outline, white(rng), body=True)
        pen.fill(circle(0.95), blue(rng))
        degrees, light = rng.choice([0, 45, 90, 135, 180, 270]), white(rng)
        pen.line(rotated([(-0.65, 0), (0.3, 0)], degrees), light, 0.22)
        pen.fill(rotated([(0.75, 0), (0.15, 0.42), (0.15, -0.42)], degrees), light)
    elif kind == 3:
        outline = rounded(polygon(4, 0), 0.15)
        pen.fill(outline, white(rng), body=True)
        pen.fill(outline * 0.72, colour(rng, 24, (0.7, 1), (0.7, 1)))
        if rng.random() < 0.5:
            _symbol(pen, rng, black(rng), 0.45, (0, 0))
    elif kind == 4:
        outline = rounded(square() * (1, 1 / rng.uniform(0.7, 1)), 0.12)
        outline /= np.abs(outline).max()
        pen.fill(outline, white(rng), body=True)
        pen.fill(outline * 0.94, blue(rng))
        _symbol(pen, rng, white(rng), rng.uniform(0.5, 0.7), (0, 0))
    elif kind == 5:
        outline = circle()
        pen.fill(outline, white(rng) if rng.random() < 0.6 else black(rng), body=True)
        pen.fill(circle(0.93), white(rng))
        pen.text(rng, str(rng.integers(1, 13) * 10), (-0.5, -0.4, 1, 0.8), (120, 120, 120), 0.15)
        for shift in np.linspace(-0.16, 0.16, 4):
            pen.line(rotated([(-0.8, shift), (0.8, shift)], -45), black(rng), 0.04)
    elif kind == 6:
        outline = rounded(square() * (rng.uniform(0.4, 0.8), 1), 0.08)
        pen.fill(outline, white(rng), body=True)
        pen.line(outline * 0.92, black(rng), 0.03, closed=True)
        for y in (-0.75, -0.45):
            pen.text(rng, _word(rng), (-0.3, y, 0.6, 0.22), black(rng), 0.14)
        pen.text(rng, str(rng.integers(1, 16) * 5), (-0.3, 0.0, 0.6, 0.7), black(rng), 0.14)
    else:
        outline = circle()
        pen.fill(outline, red(rng), body=True)
        pen.fill(circle(rng.uniform(0.7, 0.82)), white(rng))
        if rng.random() < 0.7:
            _symbol(pen, rng, black(rng), 0.45, (0, 0))
    return pen.done(outline)


def traffic_light(rng: Random) -> Template:
    pen = Pen()
    outline = rounded(square() * (rng.uniform(0.36, 0.46), 1), 0.15)
    pen.fill(outline, black(rng) if rng.random() < 0.7 else any_colour(rng), body=True)
    lit = rng.integers(3)
    for lamp, hue in enumerate((178, 22, 70)):
        value = (0.9, 1.0) if lamp == lit else (0.1, 0.3)
        centre = (0, (lamp - 1) * 0.62)
        pen.fill(circle(0.27) + centre, colour(rng, hue, (0.6, 1), value))
        if lamp == lit:
            pen.fill(circle(0.1) + centre, white(rng))
    return pen.done(outline)


def ball(rng: Random) -> Template:
    """Balls, fruit, buttons, lamps, heads: round things with shading and perhaps a pattern."""
    pen, paint = Pen(), any_colour(rng)
    pen.fill(circle(), paint, body=True)
    kind = rng.integers(5)
    if kind == 0:
        ink = any_colour(rng)
        for corner in [(0, 0), *polygon(5, rng.uniform(0, 72), 0.8)]:
            pen.fill(polygon(5, rng.uniform(0, 72), 0.3) + corner, ink)
    elif kind == 1:
        pen.line(polygon(40, 0, rng.uniform(0.7, 1.3)) + rng.uniform(-1, 1, 2), any_colour(rng), 0.05)
    elif kind == 2:
        pen.fill(square() * (1.2, rng.uniform(0.1, 0.3)) + (0, rng.uniform(-0.5, 0.5)), any_colour(rng))
    template = pen.done(circle())
    _shade_round(template.image, rng)
    return template


def _shade_round(image: np.ndarray, rng: Random) -> None:
    """Darken towards one side and add a highlight, as on a ball."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    cx, cy = rng.uniform(-0.5, 0.5), rng.uniform(-0.7, 0.2)
    distance = (axis[None] - cx) ** 2 + (axis[:, None] - cy) ** 2
    image[..., :3] *= (1.1 - rng.uniform(0.15, 0.45) * distance)[..., None].clip(0.1, 1)
    shine = np.exp(-distance * rng.uniform(8, 40))[..., None] * rng.uniform(0, 0.8)
    image[..., :3] += shine * (image[..., 3:] - image[..., :3])


def fruit_slice(rng: Random) -> Template:
    """Plates, pizzas, wheels, dials: rings and spokes."""
    pen = Pen()
    pen.fill(circle(), any_colour(rng), body=True)
    radius = 1.0
    for _ in range(rng.integers(1, 5)):
        radius *= rng.uniform(0.5, 0.95)
        pen.fill(circle(radius), any_colour(rng))
    if rng.random() < 0.5:
        ink = any_colour(rng)
        for degrees in np.arange(rng.integers(2, 12)) * 360 / rng.integers(2, 12):
            pen.line(rotated([(0, 0), (rng.uniform(0.5, 1), 0)], degrees), ink, 0.06)
    for _ in range(rng.integers(0, 12)):
        spot = circle(rng.uniform(0.05, 0.3)) + rng.uniform(-0.5, 0.5, 2)
        pen.fill(spot, any_colour(rng))
    return pen.done(circle())


def flag(rng: Random) -> Template:
    pen = Pen()
    outline = square() * (1, rng.uniform(0.5, 0.75))
    pen.fill(outline, any_colour(rng), body=True)
    half = outline[2, 1]
    kind = rng.integers(4)
    stripes = rng.integers(2, 9)
    for i in range(stripes):
        lo, hi = -1 + 2 * i / stripes, -1 + 2 * (i + 1) / stripes
        paint = any_colour(rng) if stripes < 4 else ((white, red)[i % 2])(rng)
        if kind == 0:
            pen.fill(np.array([(-1, lo * half), (1, lo * half), (1, hi * half), (-1, hi * half)]), paint)
        elif kind == 1:
            pen.fill(np.array([(lo, -half), (hi, -half), (hi, half), (lo, half)]), paint)
    if kind == 2:
        paint, x, width = any_colour(rng), rng.uniform(-0.4, 0.1), rng.uniform(0.1, 0.3)
        pen.line(np.array([(-1.1, 0), (1.1, 0)]), paint, width)
        pen.line(np.array([(x, -1), (x, 1)]), paint, width)
    elif kind == 3:
        _symbol(pen, rng, any_colour(rng), half * 0.7, (rng.uniform(-0.5, 0.3), 0))
    return pen.done(outline)


def _word(rng: Random) -> str:
    """A made-up word that begins with a letter, so that it is never a speed limit's number."""
    letters = list("STOPALREKMHNCI0123456789")
    return "".join([rng.choice(letters[:14]), *rng.choice(letters, int(rng.integers(1, 7)))])


def text_box(rng: Random) -> Template:
    """Shop signs, number plates, banners, posters, labels: lines of text on a board."""
    pen = Pen()
    ratio = rng.choice([rng.uniform(0.15, 0.4), rng.uniform(0.5, 1.0), rng.uniform(1.0, 1.8)])
    outline = square() * (1 / max(1, ratio), min(1, ratio))
    if rng.random() < 0.4:
        outline = rounded(outline, rng.uniform(0.05, 0.3))
    wide, high = np.abs(outline).max(0)
    ground, ink = any_colour(rng), any_colour(rng)
    pen.fill(outline, any_colour(rng), body=True)
    pen.fill(outline * (1 - rng.uniform(0, 0.12)), ground)
    lines = int(rng.integers(1, 2 + min(4, int(high / wide * 5))))
    pitch = 2 * high / (lines + 0.4)
    for i in range(lines):
        width = wide * rng.uniform(0.7, 1.8)
        top = -high + pitch * (i + 0.3)
        pen.text(rng, _word(rng), (-width / 2, top, width, pitch * rng.uniform(0.4, 0.75)), ink, 0.16)
    return pen.done(outline)


def _symbol(pen: Pen, rng: Random, ink: Colour, size: float, at: tuple) -> None:
    """Some small drawing, as logos and other signs carry."""
    kind, turn = rng.integers(10), rng.uniform(0, 360)
    if kind == 0:
        box = (at[0] - size, at[1] - size * 0.5, 2 * size, size)
        pen.text(rng, _word(rng)[:4], box, ink, 0.18)
    elif kind == 1:
        pen.fill(star(int(rng.integers(4, 9)), rng.uniform(0.3, 0.7)) * size + at, ink)
    elif kind == 2:
        _walker(pen, rng, ink, size * 1.6, at[1] + size * 0.8)
    elif kind == 3:
        pen.line(rotated([(-size, 0), (size * 0.4, 0)], turn) + at, ink, size * 0.35)
        head = np.array([(1, 0), (0.2, 0.6), (0.2, -0.6)]) * size
        pen.fill(rotated(head, turn) + at, ink)
    elif kind == 4:
        pen.line(circle(size * 0.8) + at, ink, size * 0.3, closed=True)
    elif kind == 5:
        pen.fill(circle(size * rng.uniform(0.4, 1)) * (1, rng.uniform(0.3, 1)) + at, ink)
    elif kind == 6:
        blob = polygon(9, turn) * rng.uniform(0.4, 1.0, (9, 1)) * size
        pen.fill(blob + at, ink)
    elif kind == 7:
        pen.text(rng, "P", (at[0] - size * 0.5, at[1] - size, size, 2 * size), ink, 0.16)
    elif kind == 8:
        pen.line(rotated([(-size, 0), (size, 0)], 45) + at, ink, size * 0.3)
        pen.line(rotated([(-size, 0), (size, 0)], -45) + at, ink, size * 0.3)
    else:
        for shift in np.linspace(-0.7, 0.7, int(rng.integers(2, 5))) * size:
            pen.line(rotated([(-size, shift), (size, shift)], turn) + at, ink, size * 0.2)


def logo(rng: Random) -> Template:
    """Any shape in any colours with anything in it, except what would be one of our signs."""
    shapes = (
        circle, octagon, square, lambda: polygon(3, rng.choice([-90, 0, 180])),
        lambda: polygon(4, 0), lambda: polygon(5, -90), lambda: polygon(6, 0),
        lambda: star(int(rng.integers(4, 12)), rng.uniform(0.4, 0.9)),
        lambda: circle() * (1, rng.uniform(0.4, 0.8)), lambda: square() * (1, rng.uniform(0.3, 0.8)),
        lambda: polygon(9, 0) * rng.uniform(0.6, 1.0, (9, 1)),
    )  # fmt: skip
    kind = int(rng.integers(len(shapes)))
    outline = shapes[kind]()
    pen, ground = Pen(), any_colour(rng)
    pen.fill(outline, any_colour(rng), body=True)
    pen.fill(outline * rng.uniform(0.6, 1.0), ground)
    for _ in range(int(rng.integers(0, 3))):
        _symbol(pen, rng, any_colour(rng), rng.uniform(0.3, 0.6), tuple(rng.uniform(-0.3, 0.3, 2)))
    return pen.done(outline)


def striped(rng: Random) -> Template:
    """Awnings, barriers, tape, jerseys, poles: red and white stripes and others."""
    pen = Pen()
    outline = square() * (1, rng.uniform(0.1, 1.0))
    first, second = (red(rng), white(rng)) if rng.random() < 0.5 else (any_colour(rng), any_colour(rng))
    pen.fill(outline, first, body=True)
    turn = rng.choice([0, 90, 45, -45, rng.uniform(0, 180)])
    count = int(rng.integers(3, 12))
    for x in np.linspace(-1.5, 1.5, count):
        pen.line(rotated([(-2, x), (2, x)], turn), second, 1.5 / count)
    return pen.done(outline)


def petals(rng: Random) -> Template:
    """Flowers, bows, folded cloth: overlapping lobes of one colour with light between them."""
    pen, paint = Pen(), red(rng) if rng.random() < 0.6 else any_colour(rng)
    outline = circle()
    foot, tones = np.array([0, rng.uniform(-0.2, 0.9)]), rng.uniform(0.5, 1.1, 8)
    for tone in tones[: rng.integers(2, 8)]:
        lobe = circle() * (rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.4)) + (rng.uniform(0.3, 0.8), 0)
        lobe = moved(rotated(lobe, rng.uniform(-180, 0)), *foot)
        lobe /= max(1, np.abs(lobe).max())
        pen.fill(lobe, tuple(int(min(255, channel * tone)) for channel in paint), body=True)
    return pen.done(outline)


def plain(rng: Random) -> Template:
    """Blank discs, boards, diamonds and triangles, with a rim at most; octagons that aren't red."""
    pen, paint = Pen(), any_colour(rng)
    shapes = (circle(), square(), octagon(), polygon(3, -90), polygon(3, 90), polygon(4, 0), polygon(6, 0))
    outline = shapes[rng.integers(len(shapes))]
    rim = colour(rng, rng.uniform(0, 180), (0.0, 1.0), (0.1, 1.0))
    pen.fill(outline, rim, body=True)
    inner = rng.uniform(0.8, 1.0)
    if rng.random() < 0.4:
        pen.fill(outline * inner, paint)
        return pen.done(outline)
    pen.fill(outline * 0.97, rim)
    return pen.done(outline)


def red_thing(rng: Random) -> Template:
    """Red, blue and white things near our signs in colour, but of another shape or content."""
    pen, kind = Pen(), rng.integers(7)
    paint, light = (red(rng) if rng.random() < 0.6 else blue(rng)), white(rng)
    outline = circle()
    if kind == 0:
        outline = circle() * (1, rng.uniform(0.3, 0.75))
        pen.fill(outline, paint, body=True)
        pen.text(rng, _word(rng), (-0.7, -0.2, 1.4, 0.4), light, 0.18)
    elif kind == 1:
        pen.fill(outline, paint, body=True)
        pen.line(rotated([(-0.75, 0), (0.75, 0)], rng.uniform(35, 145)), light, 0.25)
    elif kind == 2:
        pen.fill(outline, paint, body=True)
        for degrees in (0, 90):
            pen.line(rotated([(-0.65, 0), (0.65, 0)], degrees), light, 0.28)
    elif kind == 3:
        outline = rounded(square() * (1, rng.uniform(0.4, 1)), 0.15)
        pen.fill(outline, paint, body=True)
        pen.fill(square() * (rng.uniform(0.5, 0.8), rng.uniform(0.08, 0.2)), light)
    elif kind == 4:
        for i, radius in enumerate(np.linspace(1, 0.15, int(rng.integers(3, 7)))):
            pen.fill(circle(radius), light if i % 2 else paint, body=i == 0)
    elif kind == 5:
        outline = np.array([(-1, -0.87), (1, -0.87), (0, 0.87)])
        pen.fill(outline, paint, body=True)
        if rng.random() < 0.5:
            _symbol(pen, rng, light, 0.35, (0, -0.3))
    else:
        pen.fill(outline, paint, body=True)
        pen.fill(circle(rng.uniform(0.75, 0.9)), light)
        ink = paint if rng.random() < 0.5 else any_colour(rng)
        pen.text(rng, _word(rng)[:5], (-0.6, -0.2, 1.2, 0.4), ink, 0.18)
    return pen.done(outline)


LOOKALIKES = (
    back_of_sign, clock, warning_triangle, other_sign, other_sign, traffic_light, ball, fruit_slice,
    flag, text_box, text_box, logo, logo, striped, plain, red_thing, red_thing, petals, clock,
)  # fmt: skip
