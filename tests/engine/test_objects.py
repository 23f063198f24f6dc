"""Touching objects are cut where they narrow, whatever their size, and one number decides how readily."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_fewshot.core.objects import Objects
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.engine.objects import separate, smallest_strokes

Y, X = np.indices((120, 160))


def disc(y: float, x: float, r: float) -> np.ndarray:
    return np.hypot(Y - y, X - x) < r


def classes(*masks: np.ndarray) -> np.ndarray:
    return (1 + np.any(masks, axis=0)).astype(np.uint8)


@pytest.mark.parametrize("radius", [6, 12, 24])
def test_two_touching_discs_are_two_objects_of_any_size(radius: int) -> None:
    found = separate(classes(disc(60, 80 - 0.9 * radius, radius), disc(60, 80 + 0.9 * radius, radius)), Objects(2))
    assert found.max() == 2 and found[60, int(80 - radius)] != found[60, int(80 + radius)]
    sizes = np.bincount(found.ravel())[1:]
    assert sizes.min() > 0.9 * sizes.max()


def test_a_small_object_beside_a_large_one_is_not_swallowed() -> None:
    found = separate(classes(disc(60, 60, 30), disc(60, 97, 8)), Objects(2))
    assert found.max() == 2 and np.sum(found == found[60, 100]) == pytest.approx(np.pi * 64, rel=0.2)


def test_a_long_wavy_object_stays_one() -> None:
    wave = np.abs(Y - 60 - 12 * np.sin(X / 30)) < 9 + np.sin(X / 4)
    assert separate(classes(wave), Objects(2)).max() == 1


def test_the_number_decides_how_readily_it_is_cut() -> None:
    touching = classes(disc(60, 62, 20), disc(60, 92, 20))
    counts = [separate(touching, Objects(2, split)).max() for split in (0.0, 0.3, 0.8, 1.0)]
    assert counts[:3] == [1, 1, 2] and counts == sorted(counts)


def test_a_rough_border_does_not_make_crumbs() -> None:
    rng = np.random.default_rng(0)
    rough = np.hypot(Y - 60, X - 80) + rng.normal(0, 1.2, Y.shape) < 30
    found = separate(classes(rough), Objects(2, smallest_px=40))
    assert found.max() == 1


def test_thin_and_small_objects_are_objects_too() -> None:
    lines = classes(Y == 20, Y == 40, disc(90, 80, 12))
    assert separate(lines, Objects(2)).max() == 3
    specks = classes((Y // 2 == 10) & (X // 2 == 10), (Y // 2 == 10) & (X // 2 == 40), disc(90, 80, 20))
    assert separate(specks, Objects(2)).max() == 3
    rng = np.random.default_rng(0)
    for share in (0.1, 0.3, 0.5):
        found = separate(1 + (rng.random((60, 60)) < share).astype(np.uint8), Objects(2))
        assert found.max() >= ndimage.label(found > 0, np.ones((3, 3)))[1]
        assert np.array_equal(found > 0, np.isin(found, np.unique(found)[1:]))


def test_specks_smaller_than_what_is_painted_are_left_out() -> None:
    painted = np.zeros(Y.shape, np.uint8)
    painted[5:9, 5:45], painted[60:66, 60:70], painted[100:105, 20:40] = 1, 2, 2
    assert smallest_strokes(painting_of([Y.astype(float)], [painted])) == (80, 30)
    found = separate(classes(disc(60, 60, 12), disc(20, 20, 2)), Objects(2, smallest_px=30))
    assert found.max() == 1 and found[20, 20] == 0


def test_where_the_class_is_not_there_is_no_object() -> None:
    found = separate(np.ones((50, 60), np.uint8), Objects(2))
    assert found.shape == (50, 60) and found.dtype == np.int32 and not found.any()
    assert separate(np.full((50, 60), 2, np.uint8), Objects(2)).max() == 1
