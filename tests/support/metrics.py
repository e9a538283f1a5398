"""What an app counts, as Prometheus reads it."""

from __future__ import annotations

from flask import Flask
from prometheus_client.parser import text_string_to_metric_families


def sample(app: Flask, name: str, /, **labels: str) -> float | None:
    """The number called `name` with exactly these labels in the metrics of `app`; None if there is none."""
    text = app.test_client().get("/metrics").text
    for family in text_string_to_metric_families(text):
        for entry in family.samples:
            if entry.name == name and entry.labels == labels:
                return entry.value
    return None
