"""Damaged photos by the hundred, the same ones every time: an ImageError or a picture, and never much memory."""

from __future__ import annotations

import io
import json
import os
import random
import resource
import subprocess
import sys

import pytest
from PIL import Image

from barevision.detection import ImageError, decode_image

_KINDS = {
    "JPEG": {},
    "progressive JPEG": {"progressive": True},
    "PNG": {},
    "animated PNG": {"save_all": True},
    "WEBP": {},
    "GIF": {"save_all": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {},
}
_MUTATIONS = 300
_MAX_PIXELS = 100_000
#: Kilobytes above what Python and the libraries take. 22 bytes for each of _MAX_PIXELS are 2 MB; a chunk's false length
#: costs up to 4 GB.
_MEMORY = 100 * 1024


def photo(kind: str) -> bytes:
    """A small photo of nothing in particular, and another as its second frame if it is animated."""
    pictures = [Image.radial_gradient("L").resize((48, 32)), Image.linear_gradient("L").resize((48, 32))]
    frames = [Image.merge("RGB", [picture, picture.rotate(90), picture.rotate(180)]) for picture in pictures]
    options = dict(_KINDS[kind])
    if options.get("save_all"):
        options["append_images"] = frames[1:]
    file = io.BytesIO()
    frames[0].save(file, kind.split()[-1], **options)
    return file.getvalue()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four bytes changed, taken out or put in, mostly near the beginning."""
    mutable = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        position = min(int(chance.expovariate(1 / 60)), len(mutable) - 1)
        end = position + chance.choice((1, 1, 1, 0, 4))
        mutable[position:end] = bytes(
            chance.choice((0, 127, 255, chance.randrange(256))) for _ in range(end - position)
        )
        if chance.random() < 0.2:
            del mutable[position : position + chance.randrange(1, 9)]
    return bytes(mutable)


def decode_mutations(kind: str) -> int:
    """Decodes them all; how many kilobytes that raised the process's peak by, beyond what a whole photo takes."""
    data, chance = photo(kind), random.Random(1)
    decode_image(data, _MAX_PIXELS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(_MUTATIONS):
        try:
            assert decode_image(mutated(data, chance), _MAX_PIXELS).ndim == 3
        except ImageError:
            continue
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


@pytest.fixture(scope="module")
def peaks() -> dict[str, int]:
    """What `decode_mutations` gives for each kind, in a process of its own: no other test's memory is in its peak."""
    code = (
        f"import json; from {__name__} import *; print(json.dumps({{k: decode_mutations(k) for k in {list(_KINDS)}}}))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OPENCV_LOG_LEVEL": "OFF"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", _KINDS)
def test_damaged_pictures_cost_no_more_than_whole_ones(peaks: dict[str, int], kind: str) -> None:
    assert peaks[kind] < _MEMORY
