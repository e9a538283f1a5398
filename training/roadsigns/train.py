"""Trains the network of roadsigns.cfg on drawn scenes and writes its Darknet weights.

    python -m training.roadsigns.train --scenes build/roadsigns/train-101 build/roadsigns/train-102 \
        --weights build/roadsigns/roadsigns.weights

AdamW with a cosine schedule over the given steps; what is written is the running average of the weights. Ctrl-C ends
the training early and writes what there is.
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
_REPORT_STEPS = 50
_SAVE_STEPS = 250


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


def train(network: Network, scenes: Scenes, steps: int, batch: int, rate: float, weights: Path) -> None:
    """Trains `network` and writes the running average of it, now and then and at the end.

    Steps, not minutes, because a busy machine shall not make another network.
    """
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    kernels = [values for values in network.parameters() if values.ndim > 1]
    others = [values for values in network.parameters() if values.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": kernels, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}], lr=rate
    )
    start, losses = time.monotonic(), []
    try:
        for step in range(1, steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = rate * _share(step, steps)
            losses.append(_step(network, optimizer, *scenes.batch(batch)))
            average.update_parameters(network)
            if step % _REPORT_STEPS == 0:
                left = (time.monotonic() - start) / 60 / step * (steps - step)
                print(f"step {step} of {steps}  loss {np.mean(losses[-50:]):.3f}  {left:.0f} minutes left", flush=True)
            if step % _SAVE_STEPS == 0:
                _save(average.module, weights)
    except KeyboardInterrupt:
        print("ended early")
    _save(average.module, weights)


def _share(step: int, steps: int) -> float:
    """The share of the highest learning rate at a step: a short rise, then half a cosine down to 1 %."""
    return min(1, step / _WARM_UP_STEPS) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _save(network: Network, path: Path) -> None:
    beside = path.with_suffix(".part")
    write_weights(network, beside)
    beside.replace(path)


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
    parser.add_argument("--steps", type=int, default=3200, help="how long to train (default: 3200)")
    parser.add_argument("--batch", type=int, default=16, help="scenes in a step (default: 16)")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="highest learning rate (default: 0.0025)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order and the first weights (default: 0)")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    network = Network(_CFG).to(memory_format=torch.channels_last)
    if arguments.start:
        read_weights(network, arguments.start)
    scenes = Scenes(arguments.scenes, arguments.seed)
    train(network, scenes, arguments.steps, arguments.batch, arguments.rate, arguments.weights)
    print(f"wrote {arguments.weights}")


if __name__ == "__main__":
    main()
