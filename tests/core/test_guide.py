"""A survey looks evenly at any part of any stack, and what it suggests is worth going to."""

import itertools

import numpy as np
import pytest

from napari_fewshot.core.guide import (
    CELL_PX,
    LOOK_PX,
    N_LOOKS,
    SPOT_PX,
    Look,
    Quality,
    Seen,
    Spot,
    best_spots,
    coarse_to_fine,
    curve_of,
    leading_axis,
    line_from,
    next_spot,
    plan_looks,
    ranked,
)
from napari_fewshot.core.picture import Picture, picture_of

BOX = (slice(0, SPOT_PX), slice(0, SPOT_PX))


class Huge:
    """The shape of an array nobody could hold."""

    def __init__(self, *shape):
        self.shape, self.dtype = shape, np.dtype(np.uint8)


@pytest.mark.parametrize("n_first", [2, 5, 9, 64])
def test_however_early_a_survey_ends_its_slices_lie_evenly(n_first):
    first = np.sort(coarse_to_fine(1000, 64)[:n_first])
    assert len(set(first)) == n_first
    gaps = np.diff([0, *first, 999])
    assert gaps.max() <= 2.3 * 999 / n_first


def test_the_looks_do_not_grow_with_the_stack():
    picture = Picture(Huge(100_000, 20_000, 20_000), "ZYX")
    looks = plan_looks(picture, (777,))
    assert len(looks) == N_LOOKS and looks[0].index == (777,)
    assert all(s.stop - s.start == LOOK_PX and s.stop <= 20_000 for look in looks for s in look.box)


def test_a_single_large_plane_is_covered():
    looks = plan_looks(picture_of(np.zeros((1100, 700), np.uint8)))
    seen = np.zeros((1100, 700), bool)
    for look in looks:
        seen[look.box] = True
    assert seen.all() and len(looks) == 6


def test_the_best_spot_lies_where_the_gain_is_and_spots_do_not_overlap():
    gain = np.full((32, 40), 0.1, np.float32)
    gain[20:26, 4:9] = 1.0
    look = Look((3,), (slice(512, 1024), slice(0, 640)))
    best, *others = best_spots(look, gain)
    assert best.index == (3,) and best.gain > others[0].gain
    inside = [slice(512 + 20 * CELL_PX, 512 + 26 * CELL_PX), slice(4 * CELL_PX, 9 * CELL_PX)]
    assert all(a.start <= b.start and b.stop <= a.stop for a, b in zip(best.box, inside, strict=True))
    assert not any(a.overlaps(b) for a in (best, *others) for b in (best, *others) if a is not b)


def test_a_plane_smaller_than_a_spot_is_one_spot():
    look = Look((), (slice(0, 40), slice(0, 50)))
    (spot,) = best_spots(look, np.ones((3, 4), np.float32), n=1)
    assert spot.box == (slice(0, 40), slice(0, 48))


def test_next_never_goes_twice_to_the_same_place_in_a_row():
    spots = [Spot((z,), BOX, gain) for z, gain in ((0, 3.0), (1, 2.0), (2, 1.0))]
    shown = []
    for _ in range(7):
        shown.append(next_spot(spots, shown))
    assert [s.index for s in shown[:3]] == [(0,), (1,), (2,)]
    assert all(a != b for a, b in itertools.pairwise(shown))
    assert next_spot(spots[:1], [spots[0]]) == spots[0] and next_spot([], []) is None


def test_the_curve_has_one_point_a_slice_and_the_ranking_all_spots():
    seen = [
        Seen(Look((4, z), BOX), quality, (Spot((4, z), BOX, 1 - quality),))
        for z, quality in ((9, 0.8), (2, 0.5), (9, 0.6))
    ]
    positions, quality = curve_of(seen, 1)
    assert positions.tolist() == [2, 9] and quality == pytest.approx([0.5, 0.7])
    assert [s.index for s in ranked(seen)] == [(4, 2), (4, 9), (4, 9)]


def test_a_propagation_goes_along_z_whatever_else_there_is():
    picture = Picture(Huge(3, 4, 2, 50, 60), "TZCYX")
    assert line_from(picture, (1, 1, 0), 1) == [(1, 2, 0), (1, 3, 0)]
    assert line_from(picture, (1, 1, 0), -1) == [(1, 0, 0)]
    assert line_from(picture_of(np.zeros((50, 60))), (), 1) == []


@pytest.mark.parametrize(
    ("axes", "axis"),
    [("TZCYX", 1), ("TCYX", 0), ("PCYX", 0), ("CZYX", 1), ("QPYX", 1), ("PTYX", 1), ("CYX", None), ("YX", None)],
)
def test_a_stack_goes_along_z_else_time_else_any_axis_but_that_of_channels(axes, axis):
    assert leading_axis(Picture(Huge(*range(2, len(axes)), 50, 60), axes)) == axis


@pytest.mark.parametrize("axes", ["TCYX", "CTYX", "CYX"])
def test_a_propagation_never_leaves_its_channel(axes):
    picture = Picture(Huge(*([4] * (len(axes) - 2)), 50, 60), axes, channel=1)
    lines = [line_from(picture, (1,) * (len(axes) - 2), step) for step in (1, -1)]
    assert all(index[axes.index("C")] == 1 for line in lines for index in line)
    assert [len(line) for line in lines] == ([2, 1] if "T" in axes else [0, 0])


def test_a_direction_ends_where_the_quality_or_the_overlap_drops():
    labels = np.ones((20, 20), np.uint8)
    labels[5:15, 5:15] = 2
    moved = np.roll(labels, 10, axis=1)
    assert Quality(0.9).drop(0.85, labels, labels) is None
    assert "0.90 to 0.70" in Quality(0.9).drop(0.7, labels, labels)
    steady = Quality(0.9)
    assert [steady.drop(0.9, labels, labels) for _ in range(3)] == [None] * 3
    assert "overlap" in steady.drop(0.9, moved, labels)
