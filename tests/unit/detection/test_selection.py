"""Which detections are answered, and in what pixels."""

from __future__ import annotations

from barevision.detection.selection import Detection, clip


def test_clipped_boxes_end_with_the_image() -> None:
    assert clip(Detection(0, 0.5, (-5, 10, 20, 200)), (120, 160)).box == (0, 10, 15, 110)
    assert clip(Detection(0, 0.5, (10, 20, 30, 40)), (120, 160)).box == (10, 20, 30, 40)
    assert clip(Detection(0, 0.5, (170, 20, 30, 40)), (120, 160)).box == (160, 20, 0, 40)
