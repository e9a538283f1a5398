"""What ``POST /predict`` answers, as plain data from elsewhere: another service, a file."""

from __future__ import annotations

import math


def is_answer(value: object) -> bool:
    """Whether `value` is a list of objects with `boxes`, `color`, `label` and `confidence`."""
    return isinstance(value, list) and all(_is_detection(item) for item in value)


def _is_detection(item: object) -> bool:
    return (
        isinstance(item, dict)
        and _are_numbers(item.get("boxes"), 4)
        and _are_numbers(item.get("color"), 3)
        and isinstance(item.get("label"), str)
        and _are_numbers([item.get("confidence")], 1)
    )


def _are_numbers(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(_is_number(item) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
