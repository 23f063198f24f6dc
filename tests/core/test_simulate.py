import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fewshot.core.simulate import Brush, simulate_correction, simulate_strokes


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_strokes_stay_inside_their_class(seed, n):
    truth = (1 + (np.indices((60, 70)).sum(0) // 25) % 3).astype(np.uint8)
    painted = simulate_strokes(truth, n, seed)
    assert set(np.unique(painted)) == {0, 1, 2, 3}
    assert (painted[painted > 0] == truth[painted > 0]).all()


def test_more_strokes_leave_the_first_as_they_are(disc):
    _, truth = disc
    few, many = (simulate_strokes(truth, n, seed=3) for n in (2, 6))
    assert (many[few > 0] == few[few > 0]).all() and (many > 0).sum() > (few > 0).sum()


def test_unknown_pixels_are_never_painted():
    truth = np.zeros((64, 64), np.uint8)
    truth[10:50, 10:50] = 1
    assert not simulate_strokes(truth, 5)[truth == 0].any()


def test_a_stroke_has_the_length_and_width_of_its_brush():
    painted = simulate_strokes(np.ones((400, 400), np.uint8), 1, brush=Brush(length_px=60, width_px=3))
    assert 60 * 2 < (painted > 0).sum() < 60 * 5


def test_a_correction_starts_on_what_is_missed_most_and_stays_in_its_box_and_class():
    truth = np.ones((120, 120), int)
    truth[:, 40:80], truth[:, 80:] = 2, 3
    found = truth.copy()
    found[30:90, 50:70], found[60:70, 85:90] = 1, 1
    box = (slice(20, 100), slice(10, 110))
    painted = simulate_correction(truth, found, box, seed=3)
    assert np.unique(painted).tolist() == [0, 2] and (painted[truth != 2] == 0).all()
    assert painted[box].sum() == painted.sum() and np.any((painted > 0) & (found != truth))
    assert np.array_equal(painted, simulate_correction(truth, found, box, seed=3))
    assert set(np.unique(simulate_correction(truth, truth, box))) == {0, 2}
    assert not simulate_correction(np.zeros_like(truth), found, box).any()
