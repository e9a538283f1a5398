"""The embedded model: what its card promises, on drawn scenes and on real photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from barevision.detector import Detector
from barevision.pictures.decode import decode_image
from training.roadsigns import evaluate, golden, scenes, templates

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "app" / "barevision" / "models" / "roadsigns"


def test_it_is_small_and_complete() -> None:
    assert sum((MODEL / f"roadsigns.{part}").stat().st_size for part in ("cfg", "weights", "names")) <= 2_000_000
    assert (MODEL / "roadsigns.names").read_text().splitlines() == list(templates.NAMES)
    assert (MODEL / "roadsigns.cfg").read_bytes() == (ROOT / "training" / "roadsigns" / "roadsigns.cfg").read_bytes()
    assert (MODEL / "README.md").is_file()


def test_it_finds_signs_on_scenes_that_it_never_saw(roadsigns: Detector) -> None:
    """A sample of what the card's figure was measured on: fewer scenes, so a wider margin."""
    pool = scenes.make_pool(np.random.default_rng(77), 12)
    drawn = [scenes.draw_scene(np.random.default_rng([77, number]), pool) for number in range(150)]
    tallies = evaluate.measure(roadsigns, [scene for scene, _ in drawn], [signs for _, signs in drawn])
    assert sum(tally.signs for tally in tallies.values()) > 100
    assert np.mean([tally.average_precision() for tally in tallies.values()]) > 0.85


def test_it_finds_next_to_nothing_on_photos_without_signs(roadsigns: Detector, assets: Path) -> None:
    photos = sorted((assets / "coco64" / "images").glob("*.jpg"))
    answers = [roadsigns.predict(decode_image(photo.read_bytes(), 50_000_000)) for photo in photos]
    assert len(photos) == 64
    assert sum(len(answer) for answer in answers) / len(photos) <= 0.05


def test_it_finds_the_stop_sign_on_a_real_photo(roadsigns: Detector, assets: Path) -> None:
    photo = (assets / "calibration" / "000000000151.jpg").read_bytes()
    answer = roadsigns.predict(decode_image(photo, 50_000_000))
    assert [detection.label for detection in answer] == ["stop"]
    np.testing.assert_allclose(answer[0].box, [217, 327, 28, 38], atol=8)


def test_its_golden_answer_is_what_was_drawn(roadsigns: Detector) -> None:
    _, truths = golden.draw(seed=1)
    expected = {detection.label: detection.box for detection in roadsigns.model.golden.expected}
    assert set(expected) == {name for name, _ in truths} == set(templates.NAMES)
    for name, box in truths:
        np.testing.assert_allclose(expected[name], box, atol=22)


@pytest.mark.parametrize("seed", [1, 2])
def test_scenes_are_the_same_for_a_seed_and_signs_lie_inside(seed: int) -> None:
    first, second = (
        scenes.draw_scene(np.random.default_rng([seed, 3]), scenes.make_pool(np.random.default_rng(seed), 2))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[0].shape == (scenes.SIDE, scenes.SIDE, 3)
    assert first[1].shape[1] == 5


def test_boxes_enclose_the_signs_tightly() -> None:
    """A sign pasted on black lights up its box to every side, and nothing outside."""
    rng = np.random.default_rng(4)
    for drawing in templates.SIGNS:
        template = drawing(rng)
        alpha = template.image[..., 3] > 0.5
        rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
        low, high = template.outline.min(axis=0) * templates.SIZE, template.outline.max(axis=0) * templates.SIZE
        np.testing.assert_allclose([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], [*low, *high], atol=5)


def test_every_sign_appears() -> None:
    pool = scenes.make_pool(np.random.default_rng(5), 2)
    seen = np.concatenate([scenes.draw_scene(np.random.default_rng([5, number]), pool)[1] for number in range(40)])
    assert set(seen[:, 0].astype(int)) == set(range(len(templates.NAMES)))
    assert (seen[:, 1:] >= 0).all()
    assert (seen[:, 1:] <= scenes.SIDE).all()
    assert (seen[:, 3:] > seen[:, 1:3]).all()
