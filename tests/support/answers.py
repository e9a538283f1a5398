"""Answers of ``POST /predict`` as the package's own type, for comparisons."""

from __future__ import annotations

import json

from barevision.objects import Detection, parse_detections


def detections(answer: list[dict]) -> list[Detection]:
    """The list that `/predict` answers, checked in every field."""
    return parse_detections(json.dumps(answer))
