from pathlib import Path

import numpy as np
import pytest

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import Picture, picture_of


class OnlyPlanes:
    """An array that notes what was read of it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, where):
        self.read.append(where)
        return self.array[where]


def test_planes_are_read_one_by_one_in_order():
    lazy = OnlyPlanes(np.arange(2 * 3 * 40 * 50).reshape(2, 3, 40, 50))
    picture = picture_of(lazy)
    planes = [picture.take_plane(i) for i in picture.plane_indices()]
    np.testing.assert_array_equal(np.stack(planes).reshape(lazy.shape), lazy.array)
    assert len(lazy.read) == 6 == picture.n_planes


def test_a_fixed_channel_is_walked_alone_and_its_result_has_one():
    data = np.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    picture = Picture(data, "ZCYX", channel=1)
    assert picture.shape == (2, 1, 32, 32)
    assert [*picture.plane_indices()] == [(0, 1), (1, 1)]
    assert [picture.result_index(i) for i in picture.plane_indices()] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_rgb_comes_as_luminance_in_its_dtype(dtype):
    data = np.zeros((32, 32, 3), dtype)
    data[..., 1] = 100
    plane = Picture(data, "YXS").take_plane(())
    assert plane.dtype == dtype and plane.shape == (32, 32)
    assert plane[0, 0] == pytest.approx(71.54, abs=0.5)


def test_grey_with_alpha_comes_as_its_grey():
    data = np.stack([np.full((32, 40), 7, np.uint8), np.full((32, 40), 255, np.uint8)], -1)
    picture = Picture(data, "YXS")
    np.testing.assert_array_equal(picture.take_plane((), (slice(4), slice(5))), np.full((4, 5), 7))
    assert picture.shape == (32, 40) and not picture.is_rgb


@pytest.mark.parametrize(
    ("data", "axes", "message"),
    [
        (np.zeros((2, 3)), "ZYX", "one letter per axis"),
        (np.zeros((2, 3, 4)), "YXZ", "must end with Y and X"),
        (np.zeros((1,) * 6), "VTCZYX", "select a part of it first"),
        (np.zeros((2, 2), complex), "YX", "convert it"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_cure(data, axes, message):
    with pytest.raises(PictureError, match=message):
        Picture(data, axes)


def test_a_bare_array_has_two_to_five_axes():
    assert picture_of(np.zeros((1, 2, 3, 4, 5))).axes == "TCZYX"
    for shape in [(5,), (1,) * 6]:
        with pytest.raises(PictureError, match=f"has {len(shape)} axes"):
            picture_of(np.zeros(shape))


@pytest.mark.parametrize("name", ["a.tif", Path("a.tif")])
def test_a_file_name_in_the_place_of_an_array_is_told_from_one(name):
    with pytest.raises(PictureError, match="read it first"):
        picture_of(name)


@pytest.mark.parametrize("shape", [(100, 90, 3), (100, 90, 4), (5, 100, 90, 3)])
def test_colours_are_told_to_be_colours(shape):
    with pytest.raises(PictureError, match="looks like RGB: give one channel"):
        picture_of(np.zeros(shape))


def test_a_small_picture_is_refused_with_axis_and_size():
    with pytest.raises(PictureError, match="at least 32 px in Y, got 20"):
        picture_of(np.zeros((20, 40))).check_size()
