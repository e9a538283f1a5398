"""What was measured of a model and chosen, in ``<name>-<digest>.speed.json`` beside the prepared network.

A choice belongs to a processor, the cores in use, the engines' versions and the settings that narrow it. The file has
one for each of those that were met lately; what none fits is measured anew. A service that may not write there has such
a file in its cache, which systemd names in ``CACHE_DIRECTORY``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from barevision.choosing.choice import RULES_VERSION, Choice, Trial
from barevision.engines import Plan
from barevision.engines.processor import SPEED_FLAGS, Processor, this_processor
from barevision.models.files import write_whole
from barevision.settings import Settings

_PACKAGES = ("onnxruntime", "openvino", "opencv-python-headless")
_MOST_MEASUREMENTS = 8


@dataclass(frozen=True)
class Conditions:
    """What a measurement is good for.

    :ivar flags: those of the processor's that decide about speed.
    :ivar cores: how many of its cores predictions use in all.
    :ivar versions: of the engines' packages.
    :ivar rules: `RULES_VERSION` of the choice.
    """

    processor: str
    flags: tuple[str, ...]
    cores: int
    versions: dict[str, str]
    engine: str
    precision: str
    agreement: float
    rules: int


@dataclass(frozen=True)
class Measurement:
    """What was tried and what was chosen.

    :ivar thorough: whether all of it had its time; if not, it was measured while a service started.
    """

    conditions: Conditions
    thorough: bool
    choice: Choice
    trials: list[Trial]


_MEASUREMENTS = TypeAdapter(list[Measurement])


def conditions(settings: Settings, processor: Processor | None = None) -> Conditions:
    """Those of `settings` on `processor`, this machine's if None."""
    processor = processor or this_processor()
    return Conditions(
        processor.name,
        tuple(sorted(processor.flags & SPEED_FLAGS)),
        settings.threads,
        {package: importlib.metadata.version(package) for package in _PACKAGES},
        settings.engine,
        settings.precision,
        settings.agreement,
        RULES_VERSION,
    )


def known_measurement(network: Path, settings: Settings, processor: Processor | None = None) -> Measurement | None:
    """What was measured of the prepared `network` with `settings` on `processor`; None if nothing was."""
    here = conditions(settings, processor)
    return next((measurement for measurement in _read(network) if measurement.conditions == here), None)


def write_measurement(network: Path, measurement: Measurement) -> bool:
    """Notes what was measured of the prepared `network`, and says whether it may write anywhere."""
    others = [known for known in _read(network) if known.conditions != measurement.conditions]
    data = _MEASUREMENTS.dump_json([measurement, *others][:_MOST_MEASUREMENTS], indent=1)
    for path in _paths(network):
        with contextlib.suppress(OSError):
            write_whole(path, data)
            return True
    return False


def usual_plan(settings: Settings, quantized: bool = False) -> Plan:
    """How a network is run where nobody measured, if `settings` say nothing else.

    :param quantized: whether it runs with int8; if not, it does with ONNX Runtime at f32.
    """
    precision = settings.precision
    if precision == "auto":
        precision = "int8" if quantized else "f32"
    engine = "onnxruntime" if precision == "f32" else "openvino"
    return Plan(engine if settings.engine == "auto" else settings.engine, precision, 1, settings.threads)


def _read(network: Path) -> list[Measurement]:
    found = []
    for path in _paths(network):
        # What is damaged, or of another release, counts as not there, and is measured anew.
        with contextlib.suppress(OSError, ValidationError):
            found += _MEASUREMENTS.validate_json(path.read_bytes(), strict=True)
    return found


def _paths(network: Path) -> list[Path]:
    """Where measurements of the prepared `network` may be: what is first counts most."""
    beside = network.with_suffix(".speed.json")
    cache = os.environ.get("CACHE_DIRECTORY")
    return [beside, Path(cache, beside.name)] if cache else [beside]
