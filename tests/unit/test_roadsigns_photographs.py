"""The pictures in the shape of photos that the embedded model is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.roadsigns import photographs, scenes, templates


@pytest.fixture(scope="module")
def drawn() -> list[photographs.Scene]:
    return [photographs.draw_scene(seed) for seed in range(30)]


def test_a_picture_depends_on_its_seed_alone(drawn: list[photographs.Scene]) -> None:
    again = photographs.draw_scene(7)
    np.testing.assert_array_equal(again.image, drawn[7].image)
    np.testing.assert_array_equal(again.boxes, drawn[7].boxes)
    np.testing.assert_array_equal(again.labels, drawn[7].labels)
    assert not np.array_equal(drawn[8].image.shape, drawn[7].image.shape)


def test_boxes_lie_inside_the_picture(drawn: list[photographs.Scene]) -> None:
    for scene in drawn:
        height, width = scene.image.shape[:2]
        assert len(scene.boxes) == len(scene.labels)
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, 2:] > 3).all()
        assert (scene.boxes[:, 0] + scene.boxes[:, 2] <= width + 0.01).all()
        assert (scene.boxes[:, 1] + scene.boxes[:, 3] <= height + 0.01).all()


def test_every_sign_appears_and_some_pictures_have_none(drawn: list[photographs.Scene]) -> None:
    assert {label for scene in drawn for label in scene.labels.tolist()} == set(range(len(templates.NAMES)))
    assert any(not len(scene.labels) for scene in drawn)
    assert any(len(scene.labels) > 2 for scene in drawn)


@pytest.mark.parametrize("label", range(len(templates.NAMES)), ids=templates.NAMES)
def test_a_box_encloses_its_sign_tightly(label: int) -> None:
    """What a sign changes in a picture reaches to each side of its box, and no further."""
    painter = photographs.Painter(11)
    painter.image[:] = 0
    centre = np.array((painter.width, painter.height)) / 2
    painter.note(painter.put(label, 120, centre, tilt=1.0), label)
    lit = painter.image.sum(axis=2) > 60
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    x, y, width, height = painter.boxes[0]
    np.testing.assert_allclose(
        [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], [x, y, x + width, y + height], atol=6
    )


def test_a_set_is_what_training_reads(tmp_path: Path) -> None:
    photographs.write_set(tmp_path / "few", count=4, seed=20, workers=1)
    pictures, signs = scenes.read_set(tmp_path / "few")
    assert pictures.shape == (4, scenes.SIDE, scenes.SIDE, 3)
    assert len(signs) == 4
    for number, truths in enumerate(signs):
        scene = photographs.draw_scene(20 + number)
        np.testing.assert_array_equal(pictures[number], photographs.for_network(scene.image))
        np.testing.assert_array_equal(truths, photographs.signs_for_network(scene))
        assert (truths[:, 1:] <= scenes.SIDE + 0.01).all()
