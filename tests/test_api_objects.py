"""The public function that turns classes into objects of a stack, with their measures."""

import dask.array
import numpy as np
import pytest

import napari_fewshot as nf
from napari_fewshot.core.simulate import simulate_strokes


@pytest.fixture
def discs():
    """Two touching discs and a lone one, drifting through five slices: classes 1 and 2."""
    z, y, x = np.indices((5, 60, 120))
    inside = np.zeros(z.shape, bool)
    for centre in (30, 53, 95):
        inside |= np.hypot(y - 30, x - centre - z) < 12
    return (1 + inside).astype(np.uint8)


def test_touching_objects_are_told_apart_through_a_lazy_stack(discs):
    ids, table = nf.objects(dask.array.from_array(discs, chunks=(1, 60, 120)))
    assert ids.dtype == np.int32 and sorted(np.unique(ids)) == [0, 1, 2, 3]
    assert table["index"].tolist() == [1, 2, 3] and table["slices"].tolist() == [5, 5, 5]
    assert table["area"] == pytest.approx([5 * np.pi * 144] * 3, rel=0.05)
    one, _ = nf.objects(discs, split=0.0)
    assert one.max() == 2


def test_sizes_come_in_the_unit_that_is_given(discs):
    image = np.where(discs == 2, 200.0, 10.0)
    _, table = nf.objects(discs[0], image=image[0], spacing=(1, 2.5, 2.5), unit="nm")
    np.testing.assert_allclose(table["area (nm²)"], table["area"] * 6.25)
    assert table["intensity_mean"] == pytest.approx([200, 200, 200])


def test_strokes_tell_what_is_too_small_to_be_an_object(disc):
    image, truth = disc
    tuned = nf.fine_tune(nf.load("em-segment"), image, simulate_strokes(truth, 3), steps=0)
    assert tuned.card.smallest_of(2) > 10 and tuned.card.smallest_of(9) == 1
    ids, _ = nf.objects(nf.predict(tuned, image), 2, smallest_px=tuned.card.smallest_of(2))
    assert ids.max() == 1 and np.mean((ids > 0) == (truth == 2)) > 0.9


def test_what_does_not_fit_is_told(discs):
    with pytest.raises(nf.FewshotError, match="must be equal"):
        nf.objects(discs, image=discs[0])
    with pytest.raises(nf.FewshotError, match="from 0"):
        nf.objects(discs, split=2)


def test_a_class_may_be_asked_for_never_to_be_missed(disc):
    image, truth = disc
    strokes = simulate_strokes(truth, 4)
    tuned = nf.fine_tune(nf.load("classic"), image, strokes, never_miss=(2, 1.0))
    assert tuned.card.never_miss.recall == 1.0 and np.mean(nf.predict(tuned, image)[truth == 2] == 2) > 0.95
    with pytest.raises(nf.FewshotError, match="painted classes"):
        nf.fine_tune(nf.load("classic"), image, strokes, never_miss=(7, 0.9))


def test_a_plane_takes_two_steps_and_a_stack_three(discs):
    _, table = nf.objects(discs[0], spacing=(5.0, 5.0), unit="nm")
    assert table["area (nm²)"] == pytest.approx(25 * table["area"])
    with pytest.raises(nf.FewshotError, match="each of Z, Y and X, got 2"):
        nf.objects(discs, spacing=(5.0, 5.0), unit="nm")
