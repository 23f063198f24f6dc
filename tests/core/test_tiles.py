import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fewshot.core.tiles import middle_of, plan_tiles

SIDES = st.integers(1, 200)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(8, 96), st.integers(0, 40), st.sampled_from([1, 2, 8, 16]), st.sampled_from([1, 2, 4]))
def test_pasted_tiles_restore_any_picture_at_any_factor(height, width, tile, halo, align, factor):
    picture = np.random.default_rng(0).random((height, width))
    fine = picture.repeat(factor, 0).repeat(factor, 1)
    result = np.full(fine.shape, np.nan)
    for t in plan_tiles(picture.shape, tile, halo, align):
        result[t.target(factor)] = picture[t.outer].repeat(factor, 0).repeat(factor, 1)[t.keep(factor)]
    np.testing.assert_array_equal(result, fine)


def test_the_middle_of_a_plane_is_as_large_as_wanted_or_all_of_it():
    assert middle_of((100, 21), 20) == (slice(40, 60), slice(0, 20))
    assert middle_of((7, 20), 20) == (slice(0, 7), slice(0, 20))


@settings(max_examples=60, deadline=None)
@given(SIDES, st.integers(0, 10), st.integers(1, 60), st.integers(8, 96), st.integers(0, 40))
def test_tiles_of_a_box_cover_the_box_and_see_beyond_it(side, start, height, tile, halo):
    start, count = min(8 * start, (side - 1) // 8 * 8), np.zeros((side, side), int)
    box = (slice(start, min(start + height, side)), slice(start, side))
    for t in plan_tiles(count.shape, tile, halo, 8, box):
        count[t.inner] += 1
        for inner, outer in zip(t.inner, t.outer, strict=True):
            assert outer.start % 8 == 0 and outer.start <= max(0, inner.start - halo)
            assert outer.stop >= min(side, inner.stop + halo)
    assert (count[box] == 1).all() and count.sum() == count[box].size


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(8, 96), st.integers(0, 40), st.sampled_from([1, 8, 16]))
def test_inner_boxes_cover_each_pixel_once_and_outer_boxes_reach_the_halo(height, width, tile, halo, align):
    count = np.zeros((height, width), int)
    for t in plan_tiles(count.shape, tile, halo, align):
        count[t.inner] += 1
        for inner, outer, n in zip(t.inner, t.outer, count.shape, strict=True):
            assert outer.start % align == 0
            assert outer.start <= max(0, inner.start - halo)
            assert outer.stop >= min(n, inner.stop + halo)
    assert (count == 1).all()
