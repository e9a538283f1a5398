"""Damaged photos by the hundred, the same ones every time: a PictureError or a picture, and never much memory."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import sys

import pytest
from PIL import Image

from barevision.errors import PictureError
from barevision.pictures.decode import decode_image
from tests.fuzz.pictures import KINDS, damaged, encode

_MUTATIONS = 150
_MAX_PIXELS = 100_000
#: Kilobytes above what Python and the libraries take. 22 bytes for each of _MAX_PIXELS are 2 MB; a chunk's false length
#: costs up to 4 GB.
_MEMORY = 100 * 1024


def photo() -> Image.Image:
    """A small photo of nothing in particular."""
    picture = Image.radial_gradient("L").resize((48, 32))
    return Image.merge("RGB", [picture, picture.rotate(90), picture.rotate(180)])


def decode_mutations(kind: str) -> int:
    """Decodes them all; how many kilobytes that raised the process's peak by, beyond what a whole photo takes."""
    data, chance = encode(photo(), kind), random.Random(1)
    others = [encode(photo(), other) for other in KINDS]
    with contextlib.suppress(PictureError):
        # A float TIFF is no picture to us.
        decode_image(data, _MAX_PIXELS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(_MUTATIONS):
        try:
            assert decode_image(damaged(data, others, chance), _MAX_PIXELS).ndim == 3
        except PictureError:
            continue
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


@pytest.fixture(scope="module")
def peaks() -> dict[str, int]:
    """What `decode_mutations` gives for each kind, in a process of its own: no other test's memory is in its peak."""
    code = (
        f"import json; from {__name__} import *; print(json.dumps({{k: decode_mutations(k) for k in {list(KINDS)}}}))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OPENCV_LOG_LEVEL": "OFF"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_cost_no_more_than_whole_ones(peaks: dict[str, int], kind: str) -> None:
    assert peaks[kind] < _MEMORY
