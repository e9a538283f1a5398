r"""Trains the network of roadsigns.cfg on drawn scenes and writes its Darknet weights.

    python -m training.roadsigns.train --scenes build/roadsigns/train-101 build/roadsigns/train-102 \
        --weights build/roadsigns/roadsigns.weights

AdamW with a cosine schedule over the given time; what is written is the running average of the weights. Ctrl-C ends the
training early and writes what there is.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.roadsigns.loss import detection_loss
from training.roadsigns.network import Network, read_weights, write_weights
from training.roadsigns.scenes import SIDE, read_set

_CFG = Path(__file__).with_name("roadsigns.cfg")
_WARM_UP_STEPS = 100
_WEIGHT_DECAY = 0.02
_LARGEST_SHIFT = 20
_GRADIENT_LIMIT = 10.0


class Scenes:
    """Shuffled batches from several sets of scenes, moved a little each time."""

    def __init__(self, stems: list[Path], seed: int) -> None:
        self._sets = [read_set(stem) for stem in stems]
        self._all = [(number, index) for number, (scenes, _) in enumerate(self._sets) for index in range(len(scenes))]
        self._random = np.random.default_rng(seed)
        self._queue: list[int] = []

    def batch(self, count: int) -> tuple[torch.Tensor, list[np.ndarray]]:
        """`count` scenes, float32 (count, 3, SIDE, SIDE), RGB, 0 to 1, and the signs of each."""
        if len(self._queue) < count:
            self._queue = self._random.permutation(len(self._all)).tolist()
        chosen = [self._all[self._queue.pop()] for _ in range(count)]
        moved = [self._moved(self._sets[number][0][index], self._sets[number][1][index]) for number, index in chosen]
        pixels = torch.from_numpy(np.stack([scene for scene, _ in moved]))
        tint = torch.as_tensor(self._random.uniform(0.85, 1.15, (count, 3, 1, 1)).astype(np.float32))
        rgb = pixels.permute(0, 3, 1, 2).flip(1).float().div_(255)
        return (rgb * tint).clamp_(0, 1).contiguous(memory_format=torch.channels_last), [signs for _, signs in moved]

    def _moved(self, scene: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._random.random() < 0.5:
            return scene, signs
        shift = self._random.integers(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1, 2)
        move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        scene = cv2.warpAffine(scene, move, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
        boxes = np.clip(signs[:, 1:] + np.tile(shift, 2), 0, SIDE)
        still_there = _areas(boxes) > 0.5 * _areas(signs[:, 1:])
        return scene, np.concatenate([signs[:, :1], boxes], axis=1).astype(np.float32)[still_there]


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def train(network: Network, scenes: Scenes, minutes: float, batch: int, rate: float) -> Network:
    """The average of `network` over `minutes` of training. Prints a line every 50 steps."""
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    kernels = [values for values in network.parameters() if values.ndim > 1]
    others = [values for values in network.parameters() if values.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": kernels, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}], lr=rate
    )
    start, step, losses = time.monotonic(), 0, []
    try:
        while (done := (time.monotonic() - start) / 60 / minutes) < 1:
            warmth = min(1, (step + 1) / _WARM_UP_STEPS)
            for group in optimizer.param_groups:
                group["lr"] = rate * warmth * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
            losses.append(_step(network, optimizer, *scenes.batch(batch)))
            average.update_parameters(network)
            step += 1
            if step % 50 == 0:
                print(f"{done:4.0%}  step {step}  loss {np.mean(losses[-50:]):.3f}", flush=True)
    except KeyboardInterrupt:
        print("ended early")
    return average.module.eval()


def _step(network: Network, optimizer: torch.optim.Optimizer, pixels: torch.Tensor, signs: list[np.ndarray]) -> float:
    loss = detection_loss(network(pixels), network.anchors, signs)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_LIMIT)
    optimizer.step()
    return loss.item()


def main() -> None:
    """Trains and writes the weights."""
    parser = argparse.ArgumentParser(description="Trains the road sign detector.")
    parser.add_argument(
        "--scenes", type=Path, nargs="+", required=True, metavar="STEM", help="sets that scenes.py wrote"
    )
    parser.add_argument("--weights", type=Path, required=True, help="where the Darknet weights go")
    parser.add_argument("--start", type=Path, help="weights to start from (default: random ones)")
    parser.add_argument("--minutes", type=float, default=33, help="how long to train (default: 33)")
    parser.add_argument("--batch", type=int, default=16, help="scenes in a step (default: 16)")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="highest learning rate (default: 0.0025)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order and the first weights (default: 0)")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    network = Network(_CFG).to(memory_format=torch.channels_last)
    if arguments.start:
        read_weights(network, arguments.start)
    scenes = Scenes(arguments.scenes, arguments.seed)
    network = train(network, scenes, arguments.minutes, arguments.batch, arguments.rate)
    beside = arguments.weights.with_suffix(".part")
    write_weights(network, beside)
    beside.replace(arguments.weights)
    print(f"wrote {arguments.weights}")


if __name__ == "__main__":
    main()
