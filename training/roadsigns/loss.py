"""What a YOLO head is trained on: 2 (1 - CIoU) + class and objectness cross-entropy, over the number of positives."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from training.roadsigns.scenes import SIDE

#: An anchor whose shape overlaps a sign's by more is positive for it, besides the one that fits best.
_POSITIVE_SHAPE_IOU = 0.4
#: A prediction that overlaps a sign by more is no negative, whichever anchor made it.
_IGNORED_IOU = 0.6
_SMOOTHING = 0.01


def detection_loss(heads: list[torch.Tensor], anchors: list[np.ndarray], signs: list[np.ndarray]) -> torch.Tensor:
    """The loss of a batch.

    :param heads: of each [yolo], (n, 3 * (5 + classes), rows, columns).
    :param anchors: of each [yolo], (3, 2) in pixels.
    :param signs: of each scene, (m, 5): label, left, top, right, bottom in pixels.
    """
    positives = _positives(heads, anchors, signs)
    total = sum(
        _head_loss(head, pairs, signs, found) for head, pairs, found in zip(heads, anchors, positives, strict=True)
    )
    return total / max(1, sum(len(found) for found in positives))


def decode(head: torch.Tensor, anchors: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (n, 3, rows, columns, 4) as centre and size in pixels, objectness logits, class logits."""
    count, channels, rows, columns = head.shape
    raw = head.view(count, 3, channels // 3, rows, columns).permute(0, 1, 3, 4, 2)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    size = torch.as_tensor(anchors).view(1, 3, 1, 1, 2)
    centre = (raw[..., :2].sigmoid() + torch.stack([x, y], dim=-1)) * (SIDE / columns)
    return torch.cat([centre, raw[..., 2:4].clamp(max=8).exp() * size], dim=-1), raw[..., 4], raw[..., 5:]


def _positives(heads: list[torch.Tensor], anchors: list[np.ndarray], signs: list[np.ndarray]) -> list[np.ndarray]:
    """For each head (m, 10): scene, anchor, row, column, centre x and y, width, height, label, shape IoU."""
    found: list[list[tuple]] = [[] for _ in heads]
    shapes = np.concatenate(anchors)
    for scene, boxes in enumerate(signs):
        for label, left, top, right, bottom in boxes:
            width, height, x, y = right - left, bottom - top, (left + right) / 2, (top + bottom) / 2
            shared = np.minimum(shapes[:, 0], width) * np.minimum(shapes[:, 1], height)
            iou = shared / (shapes.prod(axis=1) + width * height - shared)
            for number in {*np.flatnonzero(iou > _POSITIVE_SHAPE_IOU).tolist(), int(iou.argmax())}:
                index, anchor = divmod(number, 3)
                cells = heads[index].shape[3]
                row, column = (min(int(value / SIDE * cells), cells - 1) for value in (y, x))
                found[index].append((scene, anchor, row, column, x, y, width, height, label, iou[number]))
    # Of two signs that claim a cell the one whose shape fits better is written last.
    return [np.array(sorted(rows, key=lambda row: row[9]), np.float32).reshape(-1, 10) for rows in found]


def _head_loss(head: torch.Tensor, anchors: np.ndarray, signs: list[np.ndarray], positives: np.ndarray) -> torch.Tensor:
    boxes, objectness, classes = decode(head, anchors)
    wanted = torch.zeros(objectness.shape)
    counted = _counted(boxes.detach(), signs)
    loss = objectness.new_zeros(())
    if len(positives):
        place = tuple(torch.as_tensor(positives[:, column].astype(np.int64)) for column in range(4))
        labels = torch.as_tensor(positives[:, 8].astype(np.int64))
        overlap = complete_iou(boxes[place], torch.as_tensor(positives[:, 4:8]))
        one_hot = torch.full((len(positives), classes.shape[-1]), _SMOOTHING)
        one_hot[torch.arange(len(positives)), labels] = 1 - _SMOOTHING
        loss = 2 * (1 - overlap).sum()
        loss = loss + functional.binary_cross_entropy_with_logits(classes[place], one_hot, reduction="sum")
        wanted[place] = 1
        counted[place] = 1
    found = functional.binary_cross_entropy_with_logits(objectness, wanted, reduction="none")
    return loss + (found * counted).sum()


def _counted(boxes: torch.Tensor, signs: list[np.ndarray]) -> torch.Tensor:
    """1 for predictions that count as negatives, 0 for those that overlap a sign well: (n, 3, rows, columns)."""
    counted = torch.ones(boxes.shape[:-1])
    for scene, truths in enumerate(signs):
        if len(truths):
            overlap = _pairwise_iou(boxes[scene].reshape(-1, 4), torch.as_tensor(truths[:, 1:]))
            counted[scene].view(-1)[overlap.amax(dim=1) > _IGNORED_IOU] = 0
    return counted


def _pairwise_iou(boxes: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """(n, m) from centre-and-size boxes (n, 4) and corner boxes (m, 4)."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    sides = torch.minimum(high[:, None], corners[None, :, 2:]) - torch.maximum(low[:, None], corners[None, :, :2])
    shared = sides.clamp(0).prod(dim=-1)
    areas = (corners[:, 2:] - corners[:, :2]).prod(dim=-1)
    return shared / (boxes[:, 2:].prod(dim=-1)[:, None] + areas[None] - shared + 1e-7)


def complete_iou(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Complete IoU of centre-and-size boxes, (n, 4) each: (n,). Zheng et al., "Distance-IoU Loss", 2020."""
    low, high = found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2
    other_low, other_high = wanted[:, :2] - wanted[:, 2:] / 2, wanted[:, :2] + wanted[:, 2:] / 2
    shared = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(0).prod(dim=1)
    iou = shared / (found[:, 2:].prod(dim=1) + wanted[:, 2:].prod(dim=1) - shared + 1e-7)
    hull = torch.maximum(high, other_high) - torch.minimum(low, other_low)
    distance = (found[:, :2] - wanted[:, :2]).square().sum(dim=1) / (hull.square().sum(dim=1) + 1e-7)
    angles = torch.atan(wanted[:, 2] / wanted[:, 3]) - torch.atan(found[:, 2] / (found[:, 3] + 1e-7))
    shape = 4 / math.pi**2 * angles.square()
    with torch.no_grad():
        weight = shape / (1 - iou + shape + 1e-7)
    return iou - distance - weight * shape
