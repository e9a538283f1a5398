"""How long a large JPEG takes to decode, in full and at reduced scale, and how far the answers move.

    .venv/bin/python benchmarks/decoding.py [--model MODEL] [--rounds N] [--megapixels M] [PHOTO...]

Each photo is enlarged to M megapixels. The ways take turns in every round, so that a noisy neighbour hits all of them.
Prints medians in milliseconds, and differences from the answers of the full decoding.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import cv2

from barevision.detector import Detector, load_detector
from barevision.models.catalogue import find_source
from barevision.objects import differences
from barevision.pictures.decode import decode_image, decode_reduced, encode_image
from barevision.settings import load_settings


def main() -> None:
    """Measures and prints a table, and the answers that differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path, help="default: the golden image of roadsigns")
    parser.add_argument("--model", default="roadsigns", help="a catalogue name or a folder (default: roadsigns)")
    parser.add_argument("--rounds", type=int, default=20, help="decodings of each photo (default: 20)")
    parser.add_argument("--megapixels", type=float, default=12, help="default: 12")
    arguments = parser.parse_args()
    photos = [path.read_bytes() for path in arguments.photos] or [find_source("roadsigns").golden.picture]
    large = [enlarged(photo, arguments.megapixels * 1e6) for photo in photos]
    detector = load_detector(load_settings(model=arguments.model))
    times = {"full": [], "reduced": []}
    for data in large * arguments.rounds:
        for way, least in (("full", None), ("reduced", tuple(2 * side for side in detector.engine.input_size))):
            start = time.perf_counter()
            decode_reduced(data, detector.settings.max_pixels, least=least)
            times[way].append(time.perf_counter() - start)
    for way, seconds in times.items():
        print(f"{way:8} {statistics.median(seconds) * 1000:7.1f} ms")
    compare(detector, large)


def enlarged(photo: bytes, pixels: float) -> bytes:
    """The JPEG `photo` as one of so many `pixels`."""
    image = decode_image(photo, 50_000_000)
    factor = (pixels / (image.shape[0] * image.shape[1])) ** 0.5
    return encode_image(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LANCZOS4), ".jpg")


def compare(detector: Detector, large: list[bytes]) -> None:
    """Prints how many photos' answers differ by more than the golden tolerances (the first), and than larger ones."""
    reducing = replace(detector, settings=detector.settings.model_copy(update={"reduce_jpegs": True}))
    for confidence, pixels in ((0.005, 2), (0.02, 20), (0.05, 50)):
        moved = sum(
            bool(
                differences(
                    detector.answer(data, full_size=True).detections,
                    reducing.answer(data).detections,
                    pixels,
                    confidence,
                )
            )
            for data in large
        )
        print(f"{moved} of {len(large)} answers move by more than {pixels} pixels or {confidence} of confidence")


if __name__ == "__main__":
    main()
