"""Draws pictures of the shape that photos have, with road signs in them, and writes sets of them.

    python -m training.roadsigns.photographs build/roadsigns/photographs --seed 1000000 --count 4000
    python -m training.roadsigns.photographs sheet.png --count 20

Where scenes.py draws what the network sees, this draws what a camera would: a picture 380 to 660 pixels long, which
then goes through JPEG and is stretched to the network's input, as a photo is on its way to the network. A picture
depends on its seed alone. The sets are like those of scenes.py, and training reads both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from training.roadsigns.backgrounds import blob, box, fill, place, texture
from training.roadsigns.scenes import SIDE
from training.roadsigns.templates import LOOKALIKES, NAMES, SIGNS, Template, moved

#: Log-uniform sizes of signs and of other things, in pixels of the network's input.
SIGN_SIZES = (10, 190)
OTHER_SIZES = (8, 240)
# So many consecutive seeds share one set of drawings and textures, because drawing those is slow.
_BANK = 4000
# Drawings of each kind in a bank.
_VARIANTS = 40

Random = np.random.Generator


@dataclass
class Scene:
    """`image`: uint8 BGR; `boxes`: float32 (n, 4), x, y, width, height in pixels; `labels`: int (n,)."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


@lru_cache(maxsize=1500)
def _drawing(bank: int, kind: int, variant: int) -> tuple[Template, list[np.ndarray]]:
    """A drawing and its pyramid (uint8, each half the last), without which small signs would alias."""
    rng = np.random.default_rng((bank, kind, variant))
    template = (*SIGNS, *LOOKALIKES)[kind](rng)
    levels = [template.image]
    while levels[-1].shape[0] > 8:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return template, [(level * 255).astype(np.uint8) for level in levels]


def _pose(rng: Random, size: float, centre: np.ndarray, tilt: float) -> np.ndarray:
    """The 3x3 matrix that takes a drawing's unit square to pixels: a camera looks at a turned plane."""
    yaw = np.clip(rng.normal(0, 22), -55, 55) * tilt
    pitch = np.clip(rng.normal(0, 9), -25, 25) * tilt
    roll = rng.normal(0, 14 if rng.random() < 0.12 else 4) * tilt
    a, b, c = np.radians((yaw, pitch, roll))
    spin_y = np.array([(np.cos(a), 0, np.sin(a)), (0, 1, 0), (-np.sin(a), 0, np.cos(a))])
    spin_x = np.array([(1, 0, 0), (0, np.cos(b), -np.sin(b)), (0, np.sin(b), np.cos(b))])
    spin_z = np.array([(np.cos(c), -np.sin(c), 0), (np.sin(c), np.cos(c), 0), (0, 0, 1)])
    turn = spin_z @ spin_x @ spin_y
    distance = rng.uniform(2, 8)
    plane = np.column_stack([turn[:, 0], turn[:, 1], -0.5 * (turn[:, 0] + turn[:, 1]) + (0, 0, distance)])
    camera = np.array([(size * distance, 0, centre[0]), (0, size * distance, centre[1]), (0, 0, 1)])
    return camera @ plane


def _weather(rng: Random, patch: np.ndarray, bank: int) -> np.ndarray:
    """Light, dirt and fading on a drawing that was warped: float32 BGRA, premultiplied, 0 to 255."""
    height, width = patch.shape[:2]
    alpha = patch[..., 3:] / 255
    bgr = patch[..., :3]
    if rng.random() < 0.35:
        fade = rng.uniform(0, 0.4)
        bgr = bgr * (1 - fade) + fade * alpha * rng.uniform(120, 230)
    if rng.random() < 0.35:
        dirt = texture(rng, bank, height, width).mean(2, keepdims=True) / 160
        bgr = bgr * (1 - rng.uniform(0.1, 0.5) * (1 - dirt.clip(0, 1)))
    if rng.random() < 0.5:
        slope = np.linspace(-1, 1, height)[:, None] * rng.normal() + np.linspace(-1, 1, width) * rng.normal()
        bgr = bgr * (1 + 0.15 * slope[..., None]).clip(0.5, 1.4)
    if rng.random() < 0.12:
        shadow = np.zeros((height, width), np.float32)
        edge = blob(rng, *rng.uniform(0, 1, 2) * (width, height), width * 0.5, height * 0.5, 0.4)
        cv2.fillPoly(shadow, [edge.astype(np.int32)], 1.0)
        bgr = bgr * (1 - rng.uniform(0.2, 0.6) * shadow[..., None])
    return np.dstack([bgr, patch[..., 3]]).astype(np.float32)


class Painter:
    """Puts signs and look-alikes into one picture."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.bank = seed // _BANK
        span = self.rng.uniform(380, 660)
        ratio = self.rng.choice(
            [4 / 3, 3 / 2, 3 / 4, 2 / 3, 16 / 9, 9 / 16, 1], p=[0.36, 0.18, 0.22, 0.08, 0.07, 0.04, 0.05]
        )
        self.width, self.height = int(span * min(1, ratio)), int(span / max(1, ratio))
        self.image = place(self.rng, self.bank, self.height, self.width).image
        self.scale = np.sqrt(self.width * self.height) / SIDE
        self.boxes: list[np.ndarray] = []
        self.labels: list[int] = []
        self.light = 1.0

    def things(self) -> None:
        """Signs and look-alikes, then things in front of them."""
        rng = self.rng
        signs = int(rng.choice([0, 1, 2, 3, 4, 6], p=[0.3, 0.27, 0.18, 0.12, 0.08, 0.05]))
        for _ in range(int(rng.choice([0, 1, 2, 4, 7, 10], p=[0.15, 0.2, 0.2, 0.25, 0.12, 0.08]))):
            self.lookalike()
        if rng.random() < 0.12:
            self.image *= rng.uniform(0.2, 0.6)
            self.light = rng.uniform(0.5, 1.0)
        else:
            self.light = rng.uniform(0.55, 1.1)
        for _ in range(signs):
            self.sign()

    def lookalike(self) -> None:
        rng = self.rng
        kind = len(SIGNS) + int(rng.integers(len(LOOKALIKES)))
        size = np.exp(rng.uniform(*np.log(OTHER_SIZES))) * self.scale
        centre = rng.uniform(-0.05, 1.05, 2) * (self.width, self.height)
        light, self.light = self.light, rng.uniform(0.5, 1.1)
        self.put(kind, size, centre, tilt=1.5)
        self.light = light

    def sign(self) -> None:
        """One sign where there is room for it, often on a pole, now and then with a board below."""
        rng = self.rng
        kind = int(rng.integers(len(SIGNS)))
        for _ in range(8):
            size = np.exp(rng.uniform(*np.log(SIGN_SIZES))) * self.scale
            margin = 0.5 if rng.random() < 0.93 else 0.25
            room = np.array((self.width, self.height)) - 2 * margin * size
            if room.min() <= 0:
                continue
            centre = margin * size + rng.uniform(0, 1, 2) * room
            if self.free(centre, size):
                break
        else:
            return
        if rng.random() < 0.6:
            self.pole(centre, size)
        outline = self.put(kind, size, centre, tilt=1.0)
        if rng.random() < 0.15:
            board = len(SIGNS) + LOOKALIKES.index(next(k for k in LOOKALIKES if k.__name__ == "text_box"))
            self.put(board, size * rng.uniform(0.6, 1), moved(centre, 0, size * rng.uniform(0.85, 1)), 0.5)
        if rng.random() < 0.18:
            self.occlude(centre, size)
        self.note(outline, kind)

    def free(self, centre: np.ndarray, size: float) -> bool:
        """Whether a sign there would leave the others visible."""
        for x, y, w, h in self.boxes:
            gap = np.abs(centre - (x + w / 2, y + h / 2))
            if gap[0] < (size + w) * 0.52 and gap[1] < (size + h) * 0.52:
                return False
        return True

    def pole(self, centre: np.ndarray, size: float) -> None:
        rng = self.rng
        grey = np.float32((1, 1, 1)) * rng.uniform(40, 200) * self.light
        if rng.random() < 0.3:
            grey *= rng.uniform(0.5, 1.2, 3)
        thick, x = size * rng.uniform(0.04, 0.14), centre[0] + size * rng.normal(0, 0.03)
        shape = box(x - thick / 2, centre[1], thick, size * rng.uniform(1, 8))
        for x0, y0, wide, _ in self.boxes:
            crosses = x0 - thick < x < x0 + wide + thick
            if crosses and centre[1] < y0 < shape[2, 1]:
                shape[2:, 1] = y0
        fill(self.image, shape, tuple(grey))
        shape[[0, 3], 0] += thick * 0.6
        fill(self.image, shape, tuple(grey * 0.6))

    def put(self, kind: int, size: float, centre: np.ndarray, tilt: float) -> np.ndarray:
        """Paint a drawing about `size` pixels large; returns its outline in pixels, (n, 2)."""
        rng = self.rng
        template, pyramid = _drawing(self.bank, kind, int(rng.integers(_VARIANTS)))
        matrix = _pose(rng, size / 0.96, centre, tilt)
        corners = cv2.perspectiveTransform(np.float32([[(0, 0), (1, 0), (1, 1), (0, 1)]]), matrix)[0]
        outline = cv2.perspectiveTransform(template.outline[None], matrix)[0]
        pad = 4
        left, top = np.maximum(np.floor(corners.min(0)).astype(int) - pad, 0)
        right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + pad, (self.width, self.height))
        if right - left < 3 or bottom - top < 3:
            return outline
        level = int(np.clip(np.log2(pyramid[0].shape[0] / size), 0, len(pyramid) - 1))
        shrink = np.diag([1 / pyramid[level].shape[0], 1 / pyramid[level].shape[0], 1])
        move = np.array([(1, 0, -left), (0, 1, -top), (0, 0, 1)]) @ matrix @ shrink
        patch = cv2.warpPerspective(pyramid[level], move, (right - left, bottom - top)).astype(np.float32)
        patch = _weather(rng, patch, self.bank)
        if rng.random() < 0.5:
            patch = cv2.GaussianBlur(patch, (0, 0), max(0.3, size * rng.uniform(0.003, 0.03)))
        area = self.image[top:bottom, left:right]
        area *= 1 - patch[..., 3:] / 255
        area += patch[..., :3] * self.light
        return outline

    def occlude(self, centre: np.ndarray, size: float) -> None:
        """Something in front of at most a third of a sign: a branch, a post, leaves, an edge."""
        rng = self.rng

        def patch(height: int, width: int) -> np.ndarray:
            return texture(rng, self.bank, height, width)

        x, y = centre
        kind = rng.integers(3)
        if kind == 0:
            thick = size * rng.uniform(0.03, 0.16)
            slant = rng.normal(0, 0.4) * size
            x += rng.uniform(-0.5, 0.5) * size
            shape = [(x, y - size), (x + thick, y - size), (x + thick + slant, y + size), (x + slant, y + size)]
            fill(self.image, shape, patch)
        elif kind == 1:
            angle = rng.uniform(0, 2 * np.pi)
            away = np.array((np.cos(angle), np.sin(angle))) * size * rng.uniform(0.52, 0.65)
            fill(self.image, blob(rng, *(centre + away), size * 0.32, size * 0.32), patch)
        else:
            for _ in range(int(rng.integers(3, 12))):
                spot = centre + rng.uniform(-0.55, 0.55, 2) * size
                fill(self.image, blob(rng, *spot, size * 0.07, size * 0.05), patch)

    def note(self, outline: np.ndarray, label: int) -> None:
        """Remember a sign's box, cut at the picture's edge."""
        low = np.maximum(outline.min(0), 0)
        high = np.minimum(outline.max(0), (self.width, self.height))
        self.boxes.append(np.concatenate([low, high - low]))
        self.labels.append(label)

    def camera(self) -> None:
        """What the camera does: exposure, colour, haze, blur, noise, vignette."""
        rng, image = self.rng, self.image
        image *= rng.uniform(0.65, 1.25) * rng.uniform(0.88, 1.12, 3).astype(np.float32)
        if rng.random() < 0.3:
            haze = rng.uniform(0, 0.35)
            image += haze * (rng.uniform(100, 240) - image)
        if rng.random() < 0.35:
            grey = image.mean(2, keepdims=True)
            image += rng.uniform(-0.5, 0.6) * (grey - image)
        if rng.random() < 0.03:
            image[:] = image.mean(2, keepdims=True)
        image = 255 * (image.clip(0, 255) / 255) ** np.float32(rng.uniform(0.7, 1.4))
        blur = rng.random()
        if blur < 0.3:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3) * self.scale)
        elif blur < 0.36:
            length = int(rng.uniform(2, 6) * self.scale) | 1
            kernel = np.zeros((length, length), np.float32)
            cv2.line(kernel, (0, length // 2), (length - 1, length // 2), 1.0)
            spin = cv2.getRotationMatrix2D((length // 2, length // 2), rng.uniform(0, 180), 1)
            kernel = cv2.warpAffine(kernel, spin, (length, length))
            image = cv2.filter2D(image, -1, kernel / kernel.sum())
        elif blur < 0.5:
            image += rng.uniform(0.3, 1.2) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
        if rng.random() < 0.5:
            noise = rng.standard_normal(image.shape[:2], np.float32)[..., None]
            image += rng.uniform(1, 14) * noise
        if rng.random() < 0.25:
            image += rng.uniform(1, 8) * rng.standard_normal(image.shape, np.float32)
        self.image = image

    def finish(self) -> Scene:
        """The scene, after a trip through JPEG."""
        image = self.image.clip(0, 255).astype(np.uint8)
        if self.rng.random() < 0.85:
            quality = int(self.rng.uniform(30, 96))
            image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)
        boxes = np.array(self.boxes, np.float32).reshape(-1, 4)
        return Scene(image, boxes, np.array(self.labels, np.int64))


def draw_scene(seed: int) -> Scene:
    """The scene of that seed: the same for the same seed, at a size of its own (380 to 660 pixels)."""
    painter = Painter(seed)
    painter.things()
    painter.camera()
    return painter.finish()


def for_network(image: np.ndarray) -> np.ndarray:
    """The picture stretched to the network's input, as the server does it: uint8 BGR."""
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def signs_for_network(scene: Scene) -> np.ndarray:
    """The signs of a scene in the network's input, float32 (m, 5): label, left, top, right, bottom in pixels."""
    height, width = scene.image.shape[:2]
    corners = np.concatenate([scene.boxes[:, :2], scene.boxes[:, :2] + scene.boxes[:, 2:]], axis=1)
    corners *= SIDE / np.array([width, height, width, height], np.float32)
    return np.concatenate([scene.labels[:, None].astype(np.float32), corners], axis=1)


def write_set(stem: Path, count: int, seed: int, workers: int) -> None:
    """Draws `count` scenes as the network sees them into STEM.npy, and their signs into STEM-labels.npz."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    scenes = np.lib.format.open_memmap(f"{stem}.npy", "w+", np.uint8, (count, SIDE, SIDE, 3))
    labels, start = [], time.monotonic()
    # One picture, one core: threads inside OpenCV would only wait for each other.
    with multiprocessing.Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for number, (scene, signs) in enumerate(pool.imap(_for_set, range(seed, seed + count), 25), start=1):
            scenes[number - 1] = scene
            labels.append(signs)
            if number % 250 == 0 or number == count:
                left = (time.monotonic() - start) / number * (count - number)
                print(f"{number} of {count} scenes, {left:.0f} s left", flush=True)
    # The labels last: without them the scenes are not taken for a whole set.
    np.savez(f"{stem}-labels.npz", signs=np.concatenate(labels), counts=[len(signs) for signs in labels])


def _for_set(seed: int) -> tuple[np.ndarray, np.ndarray]:
    scene = draw_scene(seed)
    return for_network(scene.image), signs_for_network(scene)


def write_sheet(path: Path, count: int, seed: int) -> None:
    """Writes scenes with their boxes drawn in, as one picture."""
    tiles = []
    for number in range(count):
        scene = draw_scene(seed + number)
        tile = for_network(scene.image)
        for label, left, top, right, bottom in signs_for_network(scene):
            cv2.rectangle(tile, (int(left), int(top)), (int(right), int(bottom)), (0, 255, 255), 1)
            cv2.putText(tile, NAMES[int(label)], (int(left), int(top) - 2), 0, 0.4, (0, 255, 255), 1)
        tiles.append(tile)
    columns = min(5, count)
    tiles += [np.zeros_like(tiles[0])] * (-count % columns)
    rows = [np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.vstack(rows))


def main() -> int:
    """Draws a set of scenes, or a sheet to look at."""
    parser = argparse.ArgumentParser(description="Draws scenes with road signs in them.")
    parser.add_argument("out", type=Path, help="STEM of a set (STEM.npy, STEM-labels.npz), or a .png to look at")
    parser.add_argument(
        "--seed", type=int, default=1_000_000, help="of the first scene; they count up (default: 1000000)"
    )
    parser.add_argument("--count", type=int, default=20, help="scenes to draw; 10,000 take 3 GB (default: 20)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    arguments = parser.parse_args()
    try:
        if arguments.out.suffix == ".png":
            write_sheet(arguments.out, arguments.count, arguments.seed)
        else:
            write_set(arguments.out, arguments.count, arguments.seed, arguments.workers)
    except KeyboardInterrupt:
        print("stopped: the set is not whole and will not be read", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
