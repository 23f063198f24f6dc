"""Layers become pictures, and what is visible becomes a region, whatever array lies behind a layer."""

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import Picture
from napari_fewshot.ui.layers import VIEW_PX, PlaneReader, copy_painted, current_index, plan_region, take_picture


def shown(data, **how):
    viewer = ViewerModel()
    return viewer, viewer.add_image(data, **how)


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array, zarr.array], ids=["numpy", "dask", "zarr"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "uint32", "int16", "float16", "float32", "float64"])
def test_a_plane_is_read_from_any_array_of_any_type(wrap, dtype):
    data = (np.random.default_rng(0).random((3, 40, 50)) * 9).astype(dtype)
    viewer, layer = shown(wrap(data))
    viewer.dims.set_current_step(0, 2)
    picture = take_picture(layer, viewer)
    region = plan_region(layer, viewer, picture)
    assert picture.axes == "ZYX" and region.index == (2,)
    np.testing.assert_array_equal(PlaneReader(picture).take_view(region).image, data[2])


@pytest.mark.parametrize(
    ("shape", "labels", "axes", "channel"),
    [
        ((40, 50), None, "YX", None),
        ((3, 40, 50), None, "ZYX", None),
        ((3, 40, 50), ("t", "y", "x"), "TYX", None),
        ((2, 3, 40, 50), None, "TZYX", None),
        ((2, 3, 40, 50), ("c", "z", "y", "x"), "CZYX", 1),
        ((3, 2, 40, 50), ("z", "Channel", "y", "x"), "ZCYX", 1),
        ((2, 2, 3, 40, 50), None, "CTZYX", None),
        ((2, 2, 3, 40, 50), ("t", "c", "z", "y", "x"), "TCZYX", 1),
    ],
)
def test_axes_come_from_the_labels_and_one_channel_of_many_is_walked(shape, labels, axes, channel):
    viewer, layer = shown(np.zeros(shape, np.uint8), axis_labels=labels, contrast_limits=(0, 255))
    for axis in range(len(shape) - 2):
        viewer.dims.set_current_step(axis, 1)
    picture = take_picture(layer, viewer)
    assert (picture.axes, picture.channel) == (axes, channel)
    assert current_index(layer, viewer, picture) == (1,) * (len(shape) - 2)


def test_rgb_is_worked_on_as_its_luminance():
    viewer, layer = shown(np.full((40, 50, 3), 90, np.uint8), rgb=True)
    picture = take_picture(layer, viewer)
    assert picture.axes == "YXS" and (picture.take_plane(()) == 90).all()


def test_a_multiscale_layer_is_read_at_full_resolution():
    levels = [np.full((80, 100), 1, np.uint8), np.full((40, 50), 2, np.uint8)]
    viewer, layer = shown(levels, multiscale=True)
    assert take_picture(layer, viewer).plane_shape == (80, 100)


@pytest.mark.parametrize("shape", [(2, 2, 2, 2, 40, 50), (2, 2, 2, 2, 2, 40, 50)])
def test_more_than_five_axes_are_refused_with_a_cure(shape):
    viewer, layer = shown(np.zeros(shape, np.uint8), contrast_limits=(0, 1))
    with pytest.raises(PictureError, match="select a part of it first"):
        take_picture(layer, viewer)


def test_channels_last_are_refused_with_a_cure():
    viewer, layer = shown(
        np.zeros((40, 50, 7), np.uint8), rgb=False, axis_labels=("y", "x", "c"), contrast_limits=(0, 1)
    )
    with pytest.raises(PictureError, match="channels last"):
        take_picture(layer, viewer)


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_a_region_is_at_most_so_large_and_about_the_middle(ndisplay):
    viewer, layer = shown(np.zeros((2, 1500, 3000), np.uint8), contrast_limits=(0, 1))
    viewer.dims.ndisplay = ndisplay
    box = plan_region(layer, viewer, take_picture(layer, viewer)).box
    assert box == (slice(238, 238 + VIEW_PX), slice(988, 988 + VIEW_PX))


def test_a_region_is_what_is_visible():
    viewer, layer = shown(np.zeros((500, 600), np.uint8), contrast_limits=(0, 1))
    layer.corner_pixels = np.array([[100, 250], [299, 449]])
    region = plan_region(layer, viewer, take_picture(layer, viewer))
    assert region.box == (slice(100, 300), slice(250, 450)) and region.origin == (100, 250)


def test_a_region_of_a_multiscale_layer_is_in_full_pixels():
    levels = [np.zeros((800, 800), np.uint8), np.zeros((400, 400), np.uint8)]
    viewer, layer = shown(levels, multiscale=True, contrast_limits=(0, 1))
    layer._data_level = 1
    layer.corner_pixels = np.array([[50, 100], [149, 199]])
    assert plan_region(layer, viewer, take_picture(layer, viewer)).box == (slice(100, 300), slice(200, 400))


def test_sliders_outside_a_scaled_and_shifted_layer_mean_its_nearest_plane():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((40, 64, 64), np.uint8), contrast_limits=(0, 1))
    layer = viewer.add_image(
        np.zeros((5, 64, 64), np.uint8), scale=(2, 1, 1), translate=(10, 0, 0), contrast_limits=(0, 1)
    )
    picture = take_picture(layer, viewer)
    for point, index in ((0, 0), (14, 2), (39, 4)):
        viewer.dims.set_point(0, point)
        assert current_index(layer, viewer, picture) == (index,)


def test_the_intensity_of_a_large_lazy_plane_is_that_of_the_whole_plane():
    plane = np.random.default_rng(0).integers(0, 4000, (1800, 1700), np.uint16)
    reader = PlaneReader(take_picture(*reversed(shown(da.from_array(plane)))))
    assert reader.take_intensity(()) == Intensity.measure(plane)


def test_the_same_pixels_have_the_same_key_and_others_another():
    data = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
    data[2] = data[0]
    viewer, layer = shown(data)
    reader = PlaneReader(take_picture(layer, viewer))
    keys = []
    for z in range(3):
        viewer.dims.set_current_step(0, z)
        keys.append(reader.take_view(plan_region(layer, viewer, reader.picture)).key)
    assert keys[0] == keys[2] != keys[1]
    assert isinstance(layer, Image)


def test_painted_objects_are_copied_as_objects_whatever_their_number():
    source = Labels(np.full((2, 40, 50), 257, np.int32))
    source.data[0] = 1
    target = Labels(np.zeros((2, 40, 50), np.uint8))
    copy_painted(source, target, Picture(np.zeros((2, 40, 50)), "ZYX"))
    assert np.unique(target.data[0]).tolist() == [1] and np.unique(target.data[1]).tolist() == [255]
