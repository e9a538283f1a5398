"""Draws street scenes with road signs in them, and writes sets of them.

    python -m training.roadsigns.scenes --seed 101 --count 7500 build/roadsigns/train-101

A scene is drawn from a background, things that look like signs, signs, and what a camera does to it. Boxes come from
the warped outline of a sign's drawing. The same seed draws the same scenes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.roadsigns.templates import LOOKALIKES, SIGNS, SIZE, Template

Random = np.random.Generator

#: Side of a scene in pixels: the network's input.
SIDE = 320
#: Log-uniform sizes of signs and of other things, in pixels.
SIGN_SIZES = (12, 230)
OTHER_SIZES = (8, 230)
_MIP_LEVELS = 6
_MIN_VISIBLE = {True: 0.65, False: 0.3}

# Colours that streets, houses, skies and plants have: BGR, 0 to 255.
_COMMON_COLOURS = np.array(
    [
        (60, 110, 60), (50, 90, 90), (90, 110, 120), (130, 130, 130), (160, 150, 140), (200, 170, 140),
        (230, 200, 160), (70, 80, 100), (60, 60, 60), (40, 50, 60), (110, 140, 150), (180, 190, 200),
        (90, 130, 170), (120, 160, 90), (200, 200, 205),
    ],
    np.float32,
)  # fmt: skip


@dataclass
class Drawing:
    """A template with its mip pyramid: tiny signs would alias without one."""

    levels: list[np.ndarray]
    outline: np.ndarray
    label: int


@dataclass
class Pool:
    """Drawings to choose from: `signs[label]` and `others`."""

    signs: list[list[Drawing]]
    others: list[Drawing]


def make_pool(rng: Random, each: int) -> Pool:
    """`each` drawings of every sign, and six times as many of other things."""
    signs = [[_with_mips(draw(rng)) for _ in range(each)] for draw in SIGNS]
    others = [_with_mips(LOOKALIKES[number % len(LOOKALIKES)](rng)) for number in range(6 * each)]
    return Pool(signs, others)


def _with_mips(template: Template) -> Drawing:
    levels = [template.image]
    for _ in range(_MIP_LEVELS - 1):
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return Drawing(levels, template.outline, template.label)


def draw_scene(rng: Random, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """A scene, uint8 (SIDE, SIDE, 3) BGR, and its signs, float32 (n, 5): label, left, top, right, bottom in pixels."""
    picture = _background(rng)
    others = rng.choice([0, 1, 2, 3, 4, 6, 8], p=[0.15, 0.2, 0.2, 0.15, 0.12, 0.1, 0.08])
    signs = 0 if rng.random() < 0.28 else rng.choice([1, 2, 3, 4, 6], p=[0.4, 0.27, 0.17, 0.1, 0.06])
    order = [False] * others + [True] * signs
    rng.shuffle(order)
    taken: list[np.ndarray] = []
    labels = []
    for is_sign in order:
        drawing = _choose(rng, pool, is_sign)
        box = _paste(picture, rng, drawing, taken)
        if box is None:
            continue
        taken.append(box)
        if is_sign:
            labels.append([drawing.label, *box])
    return _photograph(rng, picture), np.array(labels, np.float32).reshape(-1, 5)


def _choose(rng: Random, pool: Pool, is_sign: bool) -> Drawing:
    drawings = pool.signs[rng.integers(len(pool.signs))] if is_sign else pool.others
    return drawings[rng.integers(len(drawings))]


# ---- Backgrounds


def _noise(
    rng: Random, height: int, width: int, octaves: list[float], persistence: float, channels: int = 1
) -> np.ndarray:
    """Value noise around 0: float32 (height, width, channels). `octaves` are numbers of cells across."""
    total, amplitude, sum_of_amplitudes = np.zeros((height, width, channels), np.float32), 1.0, 0.0
    for octave in octaves:
        across = max(2, min(int(octave), width))
        cells = rng.standard_normal((max(2, across * height // width), across, channels)).astype(np.float32)
        smooth = cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR)
        total += amplitude * smooth.reshape(height, width, channels)
        sum_of_amplitudes += amplitude
        amplitude *= persistence
    return total / sum_of_amplitudes


def _colour(rng: Random) -> np.ndarray:
    """A BGR colour, 0 to 1, mostly one that streets have."""
    common = _COMMON_COLOURS[rng.integers(len(_COMMON_COLOURS))]
    base = common if rng.random() < 0.75 else rng.uniform(0, 255, 3)
    return (np.clip(base * rng.uniform(0.6, 1.25) + rng.normal(0, 12, 3), 0, 255) / 255).astype(np.float32)


def _ink(rng: Random) -> tuple[float, ...]:
    return tuple(float(value) for value in _colour(rng))


def _texture(rng: Random, height: int, width: int) -> np.ndarray:
    """A patch of something rough: float32 (height, width, 3)."""
    colour = _colour(rng)
    kind = rng.integers(6)
    start = rng.uniform(2, 12)
    octaves = [start * 2**number for number in range(rng.integers(2, 7))]
    noise = _noise(rng, height, width, octaves, rng.uniform(0.5, 0.95))
    patch = np.ones((height, width, 3), np.float32) * colour
    if kind < 3:
        return patch * (1 + noise * rng.uniform(0.1, 0.9))
    if kind == 3:
        mask = 1 / (1 + np.exp(-noise * rng.uniform(4, 20)))
        patch = patch * mask + _colour(rng) * (1 - mask)
        fine = _noise(rng, height, width, [width / 6, width / 3, width / 1.5], 0.9)
        return patch * (1 + fine * rng.uniform(0.1, 0.6))
    if kind == 4:
        mask = _stripes(rng, height, width)
        return (patch * mask + _colour(rng) * (1 - mask)) * (1 + noise * 0.3)
    return patch + _noise(rng, height, width, octaves, 0.7, 3) * rng.uniform(0.02, 0.15)


def _stripes(rng: Random, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    phase = ((x * np.cos(angle) + y * np.sin(angle)) / rng.uniform(3, 40)) % 1
    return (phase < rng.uniform(0.1, 0.9)).astype(np.float32)[..., None]


def _background(rng: Random) -> np.ndarray:
    """A scene without signs: float32 (SIDE, SIDE, 3), 0 to 1.2."""
    picture = _texture(rng, SIDE, SIDE) if rng.random() < 0.25 else _landscape(rng)
    picture = np.ascontiguousarray(picture, np.float32)
    for _ in range(rng.integers(0, 8)):
        _draw_thing(picture, rng)
    return np.clip(picture, 0, 1.2)


def _landscape(rng: Random) -> np.ndarray:
    horizon = int(SIDE * rng.uniform(0.2, 0.8))
    low = _colour(rng)
    high = low * np.float32(rng.uniform(0.6, 1.1))
    height = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(high * (1 - height) + low * height, (SIDE, SIDE, 3)).copy()
    if rng.random() < 0.5:
        picture += np.maximum(_noise(rng, SIDE, SIDE, [3, 6, 12, 24, 48], 0.6), 0) * rng.uniform(0, 0.5)
    picture[horizon:] = _texture(rng, SIDE - horizon, SIDE)
    for _ in range(rng.integers(0, 7)):
        _draw_wall(picture, rng)
    for _ in range(rng.integers(0, 4)):
        _draw_foliage(picture, rng)
    return picture


def _draw_wall(picture: np.ndarray, rng: Random) -> None:
    width, height = int(SIDE * rng.uniform(0.04, 0.6)), int(SIDE * rng.uniform(0.04, 0.7))
    left, top = rng.integers(-width // 2, SIDE - width // 3), rng.integers(-height // 2, SIDE - height // 4)
    right, bottom = min(left + width, SIDE), min(top + height, SIDE)
    left, top = max(left, 0), max(top, 0)
    if right <= left + 1 or bottom <= top + 1:
        return
    picture[top:bottom, left:right] = _texture(rng, bottom - top, right - left)
    if rng.random() < 0.5:
        _draw_windows(picture, rng, (left, top, right, bottom))


def _draw_windows(picture: np.ndarray, rng: Random, wall: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = wall
    colour, filled = _colour(rng), rng.uniform(0.3, 0.8)
    columns, rows = rng.integers(1, 8), rng.integers(1, 8)
    width, height = (right - left) / columns, (bottom - top) / rows
    for x in left + width * np.arange(columns):
        for y in top + height * np.arange(rows):
            pane = tuple(float(value) for value in np.clip(colour * rng.uniform(0.7, 1.3), 0, 1))
            cv2.rectangle(picture, (int(x), int(y)), (int(x + width * filled), int(y + height * filled)), pane, -1)


def _draw_foliage(picture: np.ndarray, rng: Random) -> None:
    noise = _noise(rng, SIDE, SIDE, [2, 4, 8, 16, 32, 64], 0.65)[..., 0]
    centre, radius = rng.uniform(0, SIDE, 2), SIDE * rng.uniform(0.1, 0.5)
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = 1 - np.hypot(x - centre[0], y - centre[1]) / radius
    alpha = np.clip((inside + noise * 0.8) * 8, 0, 1)[..., None].astype(np.float32)
    leaves = cv2.resize(_texture(rng, SIDE // 2, SIDE // 2), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    picture[:] = picture * (1 - alpha) + leaves * alpha


def _draw_thing(picture: np.ndarray, rng: Random) -> None:
    """A line, a pole, an ellipse or a polygon."""
    ink, kind = _ink(rng), rng.random()
    start, end = (tuple(int(value) for value in rng.uniform(-20, SIDE + 20, 2)) for _ in range(2))
    if kind < 0.5:
        if rng.random() < 0.5:
            end = (start[0] + int(rng.integers(-6, 7)), end[1])
        cv2.line(picture, start, end, ink, int(rng.integers(1, 9)), cv2.LINE_AA)
    elif kind < 0.8:
        axes = (int(rng.uniform(3, 70)), int(rng.uniform(3, 70)))
        cv2.ellipse(picture, start, axes, rng.uniform(0, 180), 0, 360, ink, int(rng.choice([-1, 2, 4, 8])), cv2.LINE_AA)
    else:
        corners = rng.uniform(0, SIDE, (rng.integers(3, 6), 2)).astype(np.int32)
        cv2.fillPoly(picture, [corners], ink, cv2.LINE_AA)


# ---- Signs in the scene


def _paste(picture: np.ndarray, rng: Random, drawing: Drawing, taken: list[np.ndarray]) -> np.ndarray | None:
    """Pastes `drawing` somewhere, and answers its visible box; None if it would be hidden or overlap one in `taken`."""
    is_sign = drawing.label >= 0
    low, high = SIGN_SIZES if is_sign else OTHER_SIZES
    size = np.exp(rng.uniform(np.log(low), np.log(high)))
    if rng.random() < 0.5 and size > 110:
        size *= 0.4
    centre = rng.uniform(-0.05 * SIDE, 1.05 * SIDE, 2)
    image = drawing.levels[int(np.clip(np.floor(np.log2(SIZE / size)), 0, _MIP_LEVELS - 1))]
    warp = _warp(rng, image.shape[0], size, centre)
    outline = cv2.perspectiveTransform((drawing.outline * image.shape[0]).astype(np.float32)[None], warp)[0]
    whole = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
    visible = np.concatenate([np.maximum(whole[:2], 0), np.minimum(whole[2:], SIDE)])
    if (visible[2:] - visible[:2]).min() < 3 or _area(visible) < _MIN_VISIBLE[is_sign] * _area(whole):
        return None
    if any(_overlap(visible, other) > 0.05 * min(_area(visible), _area(other)) for other in taken):
        return None
    if rng.random() < 0.6:
        _draw_pole(picture, rng, centre, whole, size)
    _blend(picture, rng, image, warp, whole, size)
    if rng.random() < (0.22 if is_sign else 0.1):
        _cover(picture, rng, whole, size)
    return visible


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    return float(np.prod(np.maximum(sides, 0)))


def _warp(rng: Random, pixels: int, size: float, centre: np.ndarray) -> np.ndarray:
    """The perspective of a thing of `size` pixels at `centre`, seen from the side and stretched as photos will be."""
    aspect = np.exp(rng.normal(0, 0.16)) if rng.random() < 0.8 else rng.uniform(0.55, 1.1)
    sides = np.array([size * np.sqrt(aspect), size / np.sqrt(aspect)])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * sides
    corners += rng.uniform(-1, 1, (4, 2)) * sides * rng.choice([0.01, 0.05, 0.12], p=[0.4, 0.4, 0.2])
    angle = np.radians(rng.normal(0, 5 if rng.random() < 0.85 else 20))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    source = np.array([[0, 0], [pixels, 0], [pixels, pixels], [0, pixels]], np.float32)
    return cv2.getPerspectiveTransform(source, (corners @ turn + centre).astype(np.float32))


def _draw_pole(picture: np.ndarray, rng: Random, centre: np.ndarray, box: np.ndarray, size: float) -> None:
    grey = tuple(float(value) for value in np.clip(rng.uniform(0.1, 0.75) + rng.normal(0, 0.03, 3), 0, 1))
    top = (int(centre[0]), int(box[3] - (box[3] - box[1]) * 0.3))
    foot = (int(centre[0] + rng.normal(0, size * 0.05)), int(min(SIDE + 5, box[3] + size * rng.uniform(0.5, 6))))
    cv2.line(picture, top, foot, grey, max(1, int(size * rng.uniform(0.03, 0.12))), cv2.LINE_AA)


def _blend(picture: np.ndarray, rng: Random, image: np.ndarray, warp: np.ndarray, box: np.ndarray, size: float) -> None:
    """Warps `image`, lights it and lays it over `picture`."""
    margin = 4
    left, top = (max(int(value) - margin, 0) for value in box[:2])
    right, bottom = (min(int(value) + margin + 1, SIDE) for value in box[2:])
    move = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    warped = cv2.warpPerspective(image, move @ warp, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    colour, alpha = _lit(rng, warped[..., :3], warped[..., 3:])
    blur = rng.uniform(0, 0.8)
    if blur > 0.3:
        sigma = blur * max(1, size / 60) if rng.random() < 0.3 else blur
        soft = cv2.GaussianBlur(np.dstack([colour, alpha[..., 0]]), (0, 0), sigma)
        colour, alpha = soft[..., :3], soft[..., 3:]
    area = picture[top:bottom, left:right]
    area[:] = area * (1 - alpha) + np.clip(colour, 0, 1.3)


def _lit(rng: Random, colour: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness, tint, haze, shadow, dirt and glare on a premultiplied patch."""
    height, width = alpha.shape[:2]
    tint = np.exp(rng.normal(-0.15, 0.3)) * np.exp(rng.normal(0, 0.06, 3))
    colour = colour * tint.astype(np.float32)
    if rng.random() < 0.3:
        haze = rng.uniform(0, 0.45)
        colour = colour * (1 - haze) + alpha * haze * rng.uniform(0.3, 0.9)
    if rng.random() < 0.35:
        shadow = 1 + _noise(rng, height, width, [2, 3], 0.6) * rng.uniform(0.2, 0.8)
        colour = colour * np.clip(shadow, 0.25, 1.6)
    if rng.random() < 0.25:
        dirt = _noise(rng, height, width, [min(width, 8), min(width, 20)], 0.8)
        colour = colour * (1 + dirt * rng.uniform(0.05, 0.25))
    if rng.random() < 0.1:
        glare = _noise(rng, height, width, [2, 4], 0.5) * rng.uniform(0.2, 0.8)
        colour = colour + alpha * np.clip(glare, 0, 1)
    return colour, alpha


def _cover(picture: np.ndarray, rng: Random, box: np.ndarray, size: float) -> None:
    """Hides up to a third of a thing behind a bar, an edge or leaves."""
    ink, kind = _ink(rng), rng.random()
    sides = box[2:] - box[:2]
    if kind < 0.45:
        ends = box[0] + sides[0] * rng.uniform(0, 1, 2)
        start, end = (int(ends[0]), int(box[1] - sides[1] * 0.3)), (int(ends[1]), int(box[3] + sides[1] * 0.3))
        cv2.line(picture, start, end, ink, max(1, int(size * rng.uniform(0.04, 0.18))), cv2.LINE_AA)
    elif kind < 0.75:
        edge = np.concatenate([box[:2] - 9, box[2:] + 9])
        side, part = rng.integers(4), rng.uniform(0.08, 0.3)
        inner = box[side] + (sides[side % 2] * part if side < 2 else -sides[side % 2] * part)
        edge[(side + 2) % 4] = inner
        left, top, right, bottom = np.clip(edge, 0, SIDE).astype(int)
        if right > left and bottom > top:
            picture[top:bottom, left:right] = _texture(rng, bottom - top, right - left)
    else:
        for _ in range(rng.integers(1, 6)):
            centre = tuple(int(value) for value in rng.uniform(box[:2], box[2:]))
            axes = tuple(max(1, int(value)) for value in size * rng.uniform(0.03, 0.14, 2))
            cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, ink, -1, cv2.LINE_AA)


# ---- The camera


def _photograph(rng: Random, picture: np.ndarray) -> np.ndarray:
    """What a camera and a JPEG encoder make of `picture`: uint8 (SIDE, SIDE, 3)."""
    picture = _exposed(rng, np.clip(picture, 0, 1.2))
    picture = _blurred(rng, picture)
    if rng.random() < 0.6:
        picture = picture + rng.standard_normal(picture.shape, np.float32) * rng.uniform(0.005, 0.06)
    pixels = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.7:
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 96))])
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return pixels


def _exposed(rng: Random, picture: np.ndarray) -> np.ndarray:
    if rng.random() < 0.5:
        picture = picture * np.exp(rng.normal(-0.1, 0.35))
    if rng.random() < 0.35:
        mean = picture.mean()
        picture = (picture - mean) * rng.uniform(0.5, 1.3) + mean
    if rng.random() < 0.15:
        grey = rng.uniform(0.3, 0.7)
        picture = picture.mean(axis=2, keepdims=True) * grey + picture * (1 - grey)
    if rng.random() < 0.3:
        picture = np.clip(picture, 0, 1) ** np.exp(rng.normal(0, 0.3))
    if rng.random() < 0.35:
        picture = picture * np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    return picture.astype(np.float32)


def _blurred(rng: Random, picture: np.ndarray) -> np.ndarray:
    kind = rng.random()
    if kind < 0.35:
        return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.3))
    if kind < 0.45:
        reach, angle = int(rng.integers(2, 7)), rng.uniform(0, np.pi)
        ray = np.array([np.cos(angle), np.sin(angle)]) * reach
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        start, end = (tuple(int(value) for value in reach + sign * ray) for sign in (-1, 1))
        cv2.line(kernel, start, end, 1, 1)
        return cv2.filter2D(picture, -1, kernel / kernel.sum())
    if kind < 0.55:
        return picture + (picture - cv2.GaussianBlur(picture, (0, 0), 1.2)) * rng.uniform(0.3, 1.2)
    return picture


# ---- Sets of scenes


def read_set(stem: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """A set that `main` wrote: scenes, uint8 (count, SIDE, SIDE, 3) mapped from disk, and each one's signs."""
    labels = np.load(f"{stem}-labels.npz")
    return np.load(f"{stem}.npy", mmap_mode="r"), np.split(labels["signs"], np.cumsum(labels["counts"])[:-1])


def main() -> None:
    """Draws a set of scenes."""
    parser = argparse.ArgumentParser(description="Draws street scenes with road signs.")
    parser.add_argument("stem", type=Path, help="writes STEM.npy and STEM-labels.npz")
    parser.add_argument("--seed", type=int, required=True, help="another seed, other scenes and other drawings")
    parser.add_argument("--count", type=int, default=7500, help="scenes to draw (default: 7500, 2.3 GB)")
    parser.add_argument("--drawings", type=int, default=220, help="drawings of each kind of sign (default: 220)")
    arguments = parser.parse_args()

    # One picture, one core: run several seeds at once instead.
    cv2.setNumThreads(1)
    arguments.stem.parent.mkdir(parents=True, exist_ok=True)
    pool = make_pool(np.random.default_rng(arguments.seed), arguments.drawings)
    shape = (arguments.count, SIDE, SIDE, 3)
    scenes = np.lib.format.open_memmap(f"{arguments.stem}.npy", "w+", np.uint8, shape)
    labels, start = [], time.monotonic()
    for number in range(arguments.count):
        scenes[number], signs = draw_scene(np.random.default_rng([arguments.seed, number]), pool)
        labels.append(signs)
        if (number + 1) % 500 == 0:
            left = (time.monotonic() - start) / (number + 1) * (arguments.count - number - 1)
            print(f"{number + 1} of {arguments.count} scenes, {left:.0f} s left", flush=True)
    counts = [len(signs) for signs in labels]
    # The labels last: without them the scenes are not taken for a whole set.
    np.savez(f"{arguments.stem}-labels.npz", signs=np.concatenate(labels), counts=counts)


if __name__ == "__main__":
    main()
