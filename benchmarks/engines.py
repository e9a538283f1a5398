"""How long a prediction takes on each engine: decoding, inference (with making the blob) and selection, one at a time.

    .venv/bin/python benchmarks/engines.py [--model MODEL] [--rounds N] [PICTURE]

The engines take turns in every round, so that a noisy neighbour hits both. Prints medians in milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from barevision.detector import load_detector
from barevision.engines import ENGINES
from barevision.models.catalogue import find_source
from barevision.settings import load_settings

_STAGES = ("decode", "infer", "select")


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path, help="default: the golden image of roadsigns")
    parser.add_argument("--model", default="roadsigns", help="as for barevision predict (default: roadsigns)")
    parser.add_argument("--rounds", type=int, default=50, help="predictions on each engine (default: 50)")
    arguments = parser.parse_args()

    picture = arguments.picture.read_bytes() if arguments.picture else find_source("roadsigns").golden.picture
    detectors = {
        name: load_detector(load_settings(model=arguments.model, engine=name, precision="f32")) for name in ENGINES
    }
    for detector in detectors.values():
        detector.answer(picture)
    rounds = [
        {name: detector.answer(picture).seconds for name, detector in detectors.items()}
        for _ in range(arguments.rounds)
    ]
    print(f"{'engine':14}" + "".join(f"{stage:>9}" for stage in (*_STAGES, "total")))
    for name in detectors:
        medians = [statistics.median(times[name][stage] for times in rounds) for stage in _STAGES]
        print(f"{name:14}" + "".join(f"{value * 1000:9.2f}" for value in (*medians, sum(medians))))


if __name__ == "__main__":
    main()
