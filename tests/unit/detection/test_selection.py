"""Which detections are answered, and in what pixels."""

from __future__ import annotations

from barevision.detection.selection import clip
from barevision.objects import Detection


def test_clipped_boxes_end_with_the_image() -> None:
    assert clip(Detection((-5, 10, 20, 200), (0, 0, 0), "dog", 0.5), (120, 160)).box == (0, 10, 15, 110)
    assert clip(Detection((10, 20, 30, 40), (0, 0, 0), "dog", 0.5), (120, 160)).box == (10, 20, 30, 40)
    assert clip(Detection((170, 20, 30, 40), (0, 0, 0), "dog", 0.5), (120, 160)).box == (160, 20, 0, 40)
