"""What is summed up slice by slice is what scikit-image measures on the whole."""

import numpy as np
import pytest
from skimage.measure import regionprops_table

from napari_fewshot.core.measures import Grid, Measures

NAMES = ("area", "centroid", "bbox", "intensity_mean", "equivalent_diameter_area", "axis_major_length", "axis_minor_length")  # fmt: skip


@pytest.fixture
def stack():
    """Three ellipsoids in a (12, 40, 60) stack with an image that knows where it is."""
    z, y, x = np.indices((12, 40, 60))
    ids = np.zeros(z.shape, np.int32)
    for n, (a, b, c, r) in enumerate([(5, 10, 12, 5), (6, 25, 40, 9), (3, 30, 12, 4)], 1):
        ids[((z - a) / 0.6) ** 2 + (y - b) ** 2 + ((x - c) / 1.5) ** 2 < r**2] = n
    return ids, (10 * z + y + 0.5 * x).astype(np.float32)


def measured(ids, image, is_stack=True, grid=None):
    measures = Measures(is_stack)
    for z in range(len(ids)):
        found, outlines = np.unique(ids[z], return_inverse=True)
        names = found if found[0] == 0 else np.r_[0, found]
        measures.add(z, outlines.reshape(ids[z].shape) + (found[0] != 0), names, image[z])
    return measures.table(grid)


@pytest.mark.parametrize("is_stack", [True, False])
def test_the_table_is_that_of_scikit_image(stack, is_stack):
    ids, image = stack if is_stack else (stack[0][5:6], stack[1][5:6])
    table = measured(ids, image, is_stack)
    peer = regionprops_table(ids if is_stack else ids[0], image if is_stack else image[0], ("label", *NAMES))
    np.testing.assert_array_equal(table["index"], peer.pop("label"))
    for name, values in peer.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-3, err_msg=name)


def test_physical_columns_come_with_a_physical_pixel_only(stack):
    assert not any("(" in name for name in measured(*stack, grid=Grid((1, 1, 1), "pixel")))
    table = measured(*stack, grid=Grid((50, 4, 4), "nm"))
    np.testing.assert_allclose(table["volume (nm³)"], table["area"] * 800)
    ball = 2 * np.cbrt(3 * table["volume (nm³)"] / (4 * np.pi))
    np.testing.assert_allclose(table["equivalent_diameter_area (nm)"], ball)
    flat = measured(stack[0][5:6], stack[1][5:6], is_stack=False, grid=Grid((1, 0.5, 0.5), "µm"))
    np.testing.assert_allclose(flat["area (µm²)"], flat["area"] / 4)


def test_series_are_told_apart():
    measures = Measures(False, "T")
    one = np.ones((4, 4), np.int32)
    for t in range(2):
        measures.add(0, one, np.array([0, t + 1]), one, (t,))
    assert measures.table()["t"].tolist() == [0, 1] and Measures(True).table()["index"].tolist() == []


def test_brightness_is_that_of_finite_pixels():
    ids = np.zeros((1, 20, 20), np.int32)
    ids[0, 2:12, 2:12], ids[0, 15:18, 15:18] = 1, 2
    image = np.full(ids.shape, 5.0, np.float32)
    image[0, 2:7], image[0, 15:] = np.nan, np.inf
    assert measured(ids, image, is_stack=False)["intensity_mean"] == pytest.approx([5.0, np.nan], nan_ok=True)
