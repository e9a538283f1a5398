"""Textures and places: what is in a picture apart from the signs.

Nothing here is a photograph. The textures imitate the statistics of natural ones (noise at all
scales, overlapping leaves, weave, brick, water), the places put them together as streets, rooms,
meadows and plain muddles.
"""

from functools import lru_cache

import cv2
import numpy as np

from training.roadsigns.templates import any_colour, colour, rounded

TEXTURE = 384
TEXTURES = 64

Random = np.random.Generator


def fractal(rng: Random, height: int, width: int, coarse: float = 3, decay: float = 0.55) -> np.ndarray:
    """Fractal noise, float32 (height, width), 0 to 1; `coarse` cells across, each octave `decay` weaker."""
    total, strength, cells = np.zeros((height, width), np.float32), 1.0, coarse
    while cells < max(height, width) / 2:
        rows = max(2, round(cells * height / max(height, width)))
        columns = max(2, round(cells * width / max(height, width)))
        grid = rng.random((rows, columns), np.float32)
        total += strength * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        strength, cells = strength * decay, cells * 2
    return cv2.normalize(total, None, 0, 1, cv2.NORM_MINMAX)


def _ramp(values: np.ndarray, *colours: tuple) -> np.ndarray:
    """Colour a map of 0 to 1 with a gradient through `colours`; float32 BGR."""
    stops = np.linspace(0, 1, len(colours))
    table = np.stack([np.interp(np.linspace(0, 1, 256), stops, c) for c in np.transpose(colours)], 1)
    return table.astype(np.float32)[(values * 255).astype(np.uint8)]


def _natural(rng: Random) -> tuple:
    """A muted colour, as most of the world has."""
    hue = rng.choice([12, 20, 30, 45, 60, 100, 110, rng.uniform(0, 180)])
    return colour(rng, hue, (0.05, 0.55), (0.1, 0.95), 8)


def _noise(rng: Random) -> np.ndarray:
    values = fractal(rng, TEXTURE, TEXTURE, rng.uniform(2, 12), rng.uniform(0.4, 0.85))
    return _ramp(values, _natural(rng), _natural(rng), _natural(rng))


def _leaves(rng: Random) -> np.ndarray:
    """Overlapping leaves, pebbles, petals, food."""
    hue = rng.choice([38, 42, 50, 20, 12, rng.uniform(0, 180)])
    spread = rng.choice([6, 10, 60], p=[0.6, 0.3, 0.1])
    image = np.full((TEXTURE, TEXTURE, 3), colour(rng, hue, (0.3, 0.8), (0.05, 0.25)), np.uint8)
    size, long = rng.uniform(4, 22), rng.uniform(1, 3)
    for _ in range(int(min(2500, 2.5 * TEXTURE**2 / size**2 / long))):
        paint = colour(rng, hue, (0.2, 0.9), (0.1, 0.95), spread)
        axes = tuple(int(v * 16) for v in (size * long / 2 * rng.uniform(0.6, 1.2), size / 2))
        centre = tuple(int(v) for v in rng.integers(0, TEXTURE * 16, 2))
        cv2.ellipse(image, centre, axes, rng.uniform(0, 360), 0, 360, paint, -1, cv2.LINE_AA, 4)
    return image


def _grass(rng: Random) -> np.ndarray:
    hue = rng.choice([38, 45, 30, 20])
    image = np.full((TEXTURE, TEXTURE, 3), colour(rng, hue, (0.3, 0.8), (0.1, 0.5)), np.uint8)
    for x, y in rng.integers(0, TEXTURE, (1800, 2)):
        tip = (int(x + rng.normal(0, 5)), int(y - rng.uniform(4, 22)))
        paint = colour(rng, hue, (0.3, 0.8), (0.2, 0.85), 5)
        cv2.line(image, (int(x), int(y)), tip, paint, int(rng.integers(1, 3)), cv2.LINE_AA)
    return image


def _grid(rng: Random) -> np.ndarray:
    """Brick, tiles, paving, windows, shelves."""
    image = np.full((TEXTURE, TEXTURE, 3), _natural(rng), np.float32)
    base, spread = np.array(_natural(rng)), rng.choice([4, 12, 40])
    high, wide = rng.uniform(8, 60), rng.uniform(12, 90)
    joint, offset = rng.uniform(0.03, 0.3) * min(high, wide), rng.choice([0, 0.5])
    for row in range(int(TEXTURE / high) + 1):
        for column in range(-1, int(TEXTURE / wide) + 1):
            x, y = (column + offset * (row % 2)) * wide, row * high
            first, last = (int(x), int(y)), (int(x + wide - joint), int(y + high - joint))
            paint = np.clip(base + rng.normal(0, spread) + rng.normal(0, spread / 4, 3), 0, 255)
            cv2.rectangle(image, first, last, paint.tolist(), -1)
    return image


def _stripes(rng: Random) -> np.ndarray:
    """Planks, corrugated iron, cloth, plaid."""
    axis = np.arange(TEXTURE, dtype=np.float32)
    lines = np.zeros(TEXTURE, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        wave = np.sin(axis / rng.uniform(1.5, 25) + rng.uniform(0, 6))
        lines += np.sign(wave) if rng.random() < 0.5 else wave
    lines = (lines - lines.min()) / max(np.ptp(lines), 1e-6)
    values = np.repeat(lines[None], TEXTURE, 0)
    if rng.random() < 0.4:
        values = (values + values.T) / 2
    tones = [any_colour(rng) if rng.random() < 0.3 else _natural(rng) for _ in range(3)]
    return _ramp(values, *tones)


def _pelt(rng: Random) -> np.ndarray:
    """Zebras, giraffes, marble, shadows of branches: noise cut at a level."""
    values = fractal(rng, TEXTURE, TEXTURE, rng.uniform(4, 14), 0.35)
    bands = 0.5 + 0.5 * np.sin(values * rng.uniform(8, 45))
    sharp = rng.uniform(2, 12)
    values = np.clip((bands - rng.uniform(0.3, 0.7)) * sharp + 0.5, 0, 1)
    if rng.random() < 0.4:
        return _ramp(values, (15, 15, 15), (235, 240, 240))
    return _ramp(values, _natural(rng), _natural(rng))


def _grain(rng: Random) -> np.ndarray:
    """Wood, bark, water, fur: noise drawn out in one direction."""
    values = fractal(rng, TEXTURE, TEXTURE // 12, rng.uniform(4, 30), rng.uniform(0.5, 0.9))
    values = cv2.resize(values, (TEXTURE, TEXTURE), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return _ramp(values, _natural(rng), _natural(rng), _natural(rng))


def _muddle(rng: Random) -> np.ndarray:
    """Crowds, shop windows, shelves: blobs of any colour."""
    image = _ramp(fractal(rng, TEXTURE, TEXTURE), _natural(rng), _natural(rng))
    size = rng.uniform(10, 50)
    for _ in range(int(2.5 * (TEXTURE / size) ** 2)):
        x, y = rng.uniform(0, TEXTURE, 2)
        corners = np.add(rng.normal(0, size / 2, (int(rng.integers(3, 7)), 2)), (x, y)).astype(np.int32)
        paint = any_colour(rng) if rng.random() < 0.35 else _natural(rng)
        cv2.fillPoly(image, [cv2.convexHull(corners)], paint, cv2.LINE_AA)
    return image


def _sky(rng: Random) -> np.ndarray:
    top = colour(rng, 108, (0.2, 0.8), (0.5, 1.0))
    low = colour(rng, rng.choice([105, 15]), (0.0, 0.3), (0.7, 1.0))
    slope = np.repeat(np.linspace(0, 1, TEXTURE, dtype=np.float32)[:, None], TEXTURE, 1)
    image = _ramp(slope, top, low)
    cloud = np.clip(fractal(rng, TEXTURE, TEXTURE, 3, 0.5) * 3 - rng.uniform(1.2, 2.8), 0, 1)[..., None]
    return image * (1 - cloud) + np.float32(_natural(rng) if rng.random() < 0.1 else (245,) * 3) * cloud


def _smooth(rng: Random) -> np.ndarray:
    """Walls, skin, car paint: a gradient."""
    paint = any_colour(rng) if rng.random() < 0.3 else _natural(rng)
    values = fractal(rng, TEXTURE, TEXTURE, 2, 0.2)
    return _ramp(values, [c * rng.uniform(0.5, 0.9) for c in paint], paint)


KINDS = (_noise, _leaves, _leaves, _grass, _grid, _grid, _stripes, _pelt, _grain, _muddle, _muddle, _smooth)


@lru_cache(maxsize=TEXTURES * 4)
def _texture(bank: int, index: int, sky: bool) -> np.ndarray:
    """One of the bank's textures, uint8 (TEXTURE, TEXTURE, 3): drawn once, used in many scenes."""
    rng = np.random.default_rng((bank, index, 77 + sky))
    kind = _sky if sky else KINDS[index % len(KINDS)]
    image = np.asarray(kind(rng), np.float32)
    if not sky:
        image = image + rng.normal(0, rng.uniform(0, 12), image.shape[:2])[..., None]
        image *= 0.75 + 0.5 * fractal(rng, TEXTURE, TEXTURE, 2, 0.5)[..., None]
    return image.clip(0, 255).astype(np.uint8)


def texture(rng: Random, bank: int, height: int, width: int, sky: bool = False) -> np.ndarray:
    """A patch of one of the bank's textures in a scale and tint of its own, float32 BGR."""
    source = _texture(bank, int(rng.integers(8 if sky else TEXTURES)), sky)
    longest = max(height, width, 1)
    if sky:
        return cv2.resize(source, (width, height)).astype(np.float32)
    crop = TEXTURE if rng.random() < 0.2 else rng.integers(TEXTURE // 6, TEXTURE)
    high = max(2, min(TEXTURE, int(crop * height / longest)))
    wide = max(2, min(TEXTURE, int(crop * width / longest)))
    y, x = rng.integers(0, TEXTURE - high + 1), rng.integers(0, TEXTURE - wide + 1)
    patch = source[y : y + high, x : x + wide]
    if rng.random() < 0.5:
        patch = patch[:, ::-1]
    mode = cv2.INTER_AREA if wide > width else cv2.INTER_LINEAR
    patch = cv2.resize(patch, (width, height), interpolation=mode).astype(np.float32)
    if rng.random() < 0.12:
        patch = patch[..., rng.permutation(3)]
    return patch * rng.uniform(0.5, 1.2) * rng.uniform(0.9, 1.1, 3).astype(np.float32)


def fill(image: np.ndarray, points: np.ndarray, paint: np.ndarray | tuple) -> None:
    """Fill a polygon (pixels) with one colour or with a patch from `paint(height, width)`."""
    points = np.asarray(points, np.float32)
    height, width = image.shape[:2]
    left, top = np.maximum(np.floor(points.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(points.max(0)).astype(int) + 1, (width, height))
    if right - left < 2 or bottom - top < 2:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fixed = np.round((points - (left, top)) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
    patch = paint(bottom - top, right - left) if callable(paint) else np.float32(paint)
    share = mask[..., None] * np.float32(1 / 255)
    area = image[top:bottom, left:right]
    area += share * (patch - area)


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])


def blob(rng: Random, x: float, y: float, rx: float, ry: float, rough: float = 0.3) -> np.ndarray:
    """A lumpy ellipse."""
    count = int(rng.integers(10, 28))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 1 + rng.uniform(-rough, rough, count)
    return np.stack([x + rx * radius * np.cos(angles), y + ry * radius * np.sin(angles)], 1)


class Place:
    """A picture in the making: `image` is float32 BGR, 0 to 255."""

    def __init__(self, rng: Random, bank: int, height: int, width: int) -> None:
        self.rng, self.bank, self.height, self.width = rng, bank, height, width
        self.image = self.patch(height, width).copy()

    def patch(self, height: int, width: int) -> np.ndarray:
        return texture(self.rng, self.bank, height, width)

    def paint(self) -> object:
        """What to fill something with: a texture, or sometimes one flat colour."""
        if self.rng.random() < 0.6:
            return self.patch
        return any_colour(self.rng) if self.rng.random() < 0.4 else _natural(self.rng)

    def street(self) -> None:
        rng, height, width = self.rng, self.height, self.width
        horizon = int(height * rng.uniform(0.35, 0.75))
        self.image[:horizon] = texture(rng, self.bank, horizon, width, sky=True)
        self.image[horizon:] = self.patch(height - horizon, width)
        for _ in range(int(rng.integers(0, 7))):
            self.building(horizon)
        for _ in range(int(rng.integers(0, 8))):
            self.tree(horizon)
        if rng.random() < 0.7:
            self.road(horizon)
        for _ in range(int(rng.integers(0, 5))):
            self.car(horizon)
        for _ in range(int(rng.integers(0, 4))):
            self.person()
        for _ in range(int(rng.integers(0, 5))):
            self.pole()

    def room(self) -> None:
        rng, height, width = self.rng, self.height, self.width
        corner = int(height * rng.uniform(0.5, 0.9))
        self.image[corner:] = self.patch(height - corner, width)
        for _ in range(int(rng.integers(3, 16))):
            w, h = width * rng.uniform(0.03, 0.4), height * rng.uniform(0.03, 0.5)
            shape = box(rng.uniform(-0.1, 1) * width, rng.uniform(-0.1, 1) * height, w, h)
            fill(self.image, shape, self.paint())
        for _ in range(int(rng.integers(0, 3))):
            self.person()

    def meadow(self) -> None:
        rng, height, width = self.rng, self.height, self.width
        horizon = int(height * rng.uniform(0.1, 0.7))
        self.image[:horizon] = texture(rng, self.bank, horizon, width, sky=True)
        self.image[horizon:] = self.patch(height - horizon, width)
        for _ in range(int(rng.integers(1, 14))):
            self.tree(horizon)
        for _ in range(int(rng.integers(0, 3))):
            self.person()

    def muddle(self) -> None:
        """Overlapping things of all sizes, as many photographs are."""
        rng, span = self.rng, max(self.height, self.width)
        for _ in range(int(rng.integers(10, 60))):
            size = span * 0.02 * (1 / rng.uniform(0.04, 1)) ** 0.9
            x, y = rng.uniform(0, self.width), rng.uniform(0, self.height)
            kind = rng.integers(3)
            if kind == 0:
                shape = blob(rng, x, y, size * rng.uniform(0.4, 1), size * rng.uniform(0.4, 1), 0.25)
            elif kind == 1:
                shape = blob(rng, x, y, size * rng.uniform(0.3, 1), size, 0.0)
            else:
                turn = rng.uniform(0, np.pi)
                spin = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
                shape = (box(-0.5, -0.5, 1, 1) * (size, size * rng.uniform(0.1, 1.2))) @ spin + (x, y)
            fill(self.image, shape, self.paint())

    def building(self, horizon: int) -> None:
        rng = self.rng
        w, h = self.width * rng.uniform(0.1, 0.5), self.height * rng.uniform(0.1, 0.6)
        x, base = rng.uniform(-0.2, 1) * self.width, horizon + self.height * rng.uniform(0, 0.08)
        fill(self.image, box(x, base - h, w, h), self.paint())
        rows, columns = int(rng.integers(1, 7)), int(rng.integers(1, 9))
        glass = _natural(rng)
        for row in range(rows):
            for column in range(columns):
                pane = box(x + w * (column + 0.2) / columns, base - h + h * (row + 0.2) / rows,
                           w * 0.6 / columns, h * 0.6 / rows)  # fmt: skip
                fill(self.image, pane, glass)

    def tree(self, horizon: int) -> None:
        rng = self.rng
        size = self.height * rng.uniform(0.05, 0.35)
        x, base = rng.uniform(0, 1) * self.width, horizon + self.height * rng.uniform(-0.05, 0.25)
        bark = colour(rng, 14, (0.1, 0.5), (0.1, 0.5))
        fill(self.image, box(x - size * 0.05, base - size * 1.2, size * 0.1, size * 1.2), bark)
        for _ in range(int(rng.integers(1, 5))):
            cx, cy = x + rng.normal(0, size * 0.3), base - size * rng.uniform(1, 1.8)
            fill(self.image, blob(rng, cx, cy, size * 0.6, size * 0.5), self.patch)

    def road(self, horizon: int) -> None:
        rng, height, width = self.rng, self.height, self.width
        far, near = rng.uniform(0.2, 0.8) * width, rng.uniform(-0.2, 1.2) * width
        half = width * rng.uniform(0.2, 0.9)
        grey = colour(rng, 105, (0.0, 0.15), (0.2, 0.7))
        edges = [(far - 4, horizon), (far + 4, horizon), (near + half, height), (near - half, height)]
        fill(self.image, edges, grey)
        for share in (0.0, 0.8, -0.8):
            for t in np.arange(0.15, 1, 0.12):
                x, y = far + (near + half * share - far) * t, horizon + (height - horizon) * t
                mark = box(x - 4 * t, y, 8 * t, (height - horizon) * 0.06 * t)
                fill(self.image, mark, (225, 230, 230))

    def car(self, horizon: int) -> None:
        rng = self.rng
        size = self.height * rng.uniform(0.04, 0.22)
        x = rng.uniform(0, 1) * self.width
        y = horizon + (self.height - horizon) * rng.uniform(0.05, 0.7)
        body = any_colour(rng)
        cabin = np.array([(-0.9, -0.6), (-0.5, -1.2), (0.6, -1.2), (1.0, -0.6)])
        fill(self.image, cabin * size + (x, y), tuple(c // 3 for c in body))
        fill(self.image, rounded(box(-1.5, -0.65, 3, 0.6), 0.25) * size + (x, y), body)
        for side in (-0.9, 0.9):
            for radius, ink in ((0.3, (25, 25, 25)), (0.16, (160, 160, 160))):
                fill(self.image, blob(rng, x + side * size, y, radius * size, radius * size, 0), ink)
        for side, lamp in ((-1.4, (40, 40, 210)), (1.3, (230, 245, 250))):
            fill(self.image, box(x + side * size, y - 0.5 * size, 0.15 * size, 0.15 * size), lamp)

    def person(self) -> None:
        rng = self.rng
        size = self.height * rng.uniform(0.06, 0.5)
        x, y = rng.uniform(0, 1) * self.width, self.height * rng.uniform(0.5, 1.1)
        skin = colour(rng, 10, (0.2, 0.6), (0.3, 0.95))
        for side in (-0.09, 0.02):
            fill(self.image, box(x + side * size, y - 0.5 * size, 0.08 * size, 0.5 * size), _natural(rng))
        shirt = rounded(box(x - 0.14 * size, y - 0.85 * size, 0.28 * size, 0.4 * size), 0.08 * size)
        fill(self.image, shirt, self.paint())
        for side in (-0.19, 0.13):
            fill(self.image, box(x + side * size, y - 0.82 * size, 0.06 * size, 0.35 * size), skin)
        fill(self.image, blob(rng, x, y - 0.93 * size, 0.07 * size, 0.09 * size, 0.05), skin)
        hair = blob(rng, x, y - 0.98 * size, 0.075 * size, 0.05 * size, 0.15)
        fill(self.image, hair, any_colour(rng) if rng.random() < 0.3 else (30, 35, 45))

    def pole(self) -> None:
        rng = self.rng
        x, thick = rng.uniform(0, 1) * self.width, self.width * rng.uniform(0.003, 0.02)
        top = rng.uniform(0, 0.6) * self.height
        paint = _natural(rng) if rng.random() < 0.8 else any_colour(rng)
        fill(self.image, box(x, top, thick, self.height), paint)


def place(rng: Random, bank: int, height: int, width: int) -> Place:
    """A picture without signs."""
    result = Place(rng, bank, height, width)
    kind = rng.choice(["street", "room", "meadow", "muddle", ""], p=[0.38, 0.15, 0.14, 0.25, 0.08])
    if kind:
        getattr(result, kind)()
    return result
