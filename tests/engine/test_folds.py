"""What is held out stays so: strokes keep their fold while others are painted, and marks of a model are never asked for."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot.core.strokes import Strokes
from napari_fewshot.engine.folds import HELD_OUT, N_FOLDS, NEVER_ASKED, folds_of


def painted(n: int, classes: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """``n`` short strokes of each class, (256, 256); those of fewer are among those of more."""
    labels = np.zeros((256, 256), np.uint8)
    for k in classes:
        for i in range(n):
            row, column = 8 + 16 * ((7 * i + k) % 15), 60 * (i % 4) + 30 * (k % 2)
            labels[row : row + 3, column : column + 20] = k
    return labels


def held_out(labels: np.ndarray, seed: int) -> np.ndarray:
    strokes = Strokes.of_plane(labels)
    found = np.zeros(labels.shape, bool)
    found[tuple(strokes.yx[folds_of(strokes, seed) == HELD_OUT].T)] = True
    return found


@pytest.mark.parametrize("seed", range(6))
def test_what_was_learned_from_is_not_held_out_when_more_is_painted(seed: int) -> None:
    before, after = painted(6), painted(8)
    learned = (before > 0) & ~held_out(before, seed)
    assert not (held_out(after, seed) & learned).any()


@pytest.mark.parametrize("n", [2, 4, 6, 12])
def test_some_of_each_class_are_held_out_and_some_are_not(n: int) -> None:
    for seed in range(8):
        labels = painted(n)
        out = held_out(labels, seed)
        for k in (1, 2):
            share = out[labels == k].mean()
            assert 0 < share < 1


def test_whole_strokes_are_held_out_together() -> None:
    labels = painted(6)
    strokes = Strokes.of_plane(labels)
    folds = folds_of(strokes, 3)
    for row in range(0, 256, 16):
        for half in (slice(0, 30), slice(30, 60)):
            here = (strokes.yx[:, 0] // 16 == row // 16) & (strokes.yx[:, 1] % 60 >= half.start) & (
                strokes.yx[:, 1] % 60 < half.stop
            )  # fmt: skip
            for column in range(4):
                one = folds[here & (strokes.yx[:, 1] // 60 == column)]
                assert len(np.unique(one)) <= 1


def test_all_folds_are_used_and_another_seed_deals_otherwise() -> None:
    strokes = Strokes.of_plane(painted(15))
    found = [folds_of(strokes, seed) for seed in range(4)]
    assert all(set(np.unique(f)) <= set(range(N_FOLDS)) for f in found)
    assert len({f.tobytes() for f in found}) == 4 and set(np.unique(found)) == set(range(N_FOLDS))


def test_marks_are_never_asked_for_and_do_not_change_what_is() -> None:
    labels = painted(6)
    marked = labels.copy()
    made = np.zeros_like(labels)
    made[250:253, 5:8], made[250:253, 25:28] = 1, 2
    marked[made > 0] = made[made > 0]
    marked[250:253, 25:28] = 1  # the user corrected this one: it is a stroke
    strokes = Strokes.of_plane(marked, made)
    folds = folds_of(strokes, 0)
    assert (folds[strokes.marks] == NEVER_ASKED).all() and strokes.marks.sum() == 9
    assert (folds[~strokes.marks] >= 0).all()
    alone = Strokes.of_plane(np.where(strokes_mask(strokes, marked.shape), 0, marked))
    np.testing.assert_array_equal(folds[~strokes.marks], folds_of(alone, 0))


def strokes_mask(strokes: Strokes, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(strokes.yx[strokes.marks].T)] = True
    return mask
