import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity

DTYPES = ["uint8", "uint16", "uint32", "int16", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back_keeps_dtype_range_and_values(dtype):
    ramp = np.linspace(0, 200, 64 * 64).reshape(64, 64).astype(dtype)
    intensity = Intensity.measure(ramp)
    back = intensity.from_unit(intensity.to_unit(ramp), dtype)
    assert back.dtype == (np.float32 if dtype.startswith("float") else dtype)
    np.testing.assert_allclose(back.astype(float), ramp.astype(float), atol=1e-3 if back.dtype.kind == "f" else 0)


def test_a_bool_picture_comes_back_as_bool():
    plane = np.arange(4096).reshape(64, 64) % 2 == 0
    intensity = Intensity.measure(plane)
    np.testing.assert_array_equal(intensity.from_unit(intensity.to_unit(plane), bool), plane)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (8, 9), elements=st.floats(width=32)))
def test_the_unit_scale_is_finite_and_bounded_whatever_the_pixels(plane):
    if not np.isfinite(plane).any():
        with pytest.raises(PictureError, match="no finite pixel"):
            Intensity.measure(plane)
        return
    unit = Intensity.measure(plane).to_unit(plane)
    assert unit.dtype == np.float32 and unit.min() >= -1 and unit.max() <= 3


def test_a_constant_plane_is_flat_and_comes_back_as_it_was():
    plane = np.full((32, 32), 7, np.uint16)
    intensity = Intensity.measure(plane)
    assert intensity.is_flat and intensity.span == 1
    np.testing.assert_array_equal(intensity.from_unit(intensity.to_unit(plane), plane.dtype), plane)


def test_values_outside_the_range_of_an_integer_are_clipped():
    assert Intensity(0, 200).from_unit(np.array([[-5.0, 5.0]]), np.uint8).tolist() == [[0, 255]]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_the_largest_integers_do_not_turn_into_the_smallest(dtype):
    found = Intensity(0, 1e20).from_unit(np.array([[0.0, 1.0]]), dtype)
    assert found[0, 1] > np.iinfo(dtype).max - 2**12
