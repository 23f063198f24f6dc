"""Strokes are taken sparsely: once painted planes are known, the rest of a stack is never looked at."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_fewshot.core.errors import PictureError, StrokesError
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.strokes import Strokes
from napari_fewshot.ui import painted
from napari_fewshot.ui.classes import new_strokes_layer
from napari_fewshot.ui.layers import PlaneReader, take_picture
from napari_fewshot.ui.learning import MADE
from napari_fewshot.ui.painted import WHOLE_PX, PaintedPlanes
from napari_fewshot.ui.placing import check_channel, check_place, check_strokes


class Counted:
    """A labels array that counts the planes that are read."""

    def __init__(self, array):
        self.array, self.n_read = array, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, key):
        self.n_read += 1
        return self.array[key]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (5, 64, 80), np.uint8)


@pytest.fixture
def reader(image):
    return PlaneReader(Picture(image, "ZYX"))


@pytest.fixture
def calls():
    return []


def follow(labels, calls):
    return PaintedPlanes(labels, lambda: calls.append(1))


def test_what_was_painted_before_is_found(image, reader, calls):
    array = np.zeros(image.shape, np.uint8)
    array[3, 10:12, 20:30] = 2
    (plane,) = follow(Labels(array), calls).take(reader).planes
    assert len(plane.strokes) == 20 and set(plane.strokes.classes) == {2}
    np.testing.assert_array_equal(plane.image, image[3])
    assert plane.strokes.yx.min(0).tolist() == [10, 20]


def test_strokes_are_followed_as_they_are_painted(reader, image, calls):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = follow(labels, calls)
    assert planes.take(reader).n_painted == 0
    labels.brush_size = 3
    labels.paint((1, 20, 20), 1)
    labels.paint((4, 30, 30), 2)
    assert calls
    painting = planes.take(reader, ("a", "b"))
    assert painting.classes == (1, 2) and len(painting.planes) == 2 and painting.class_names == ("a", "b")


def test_undo_and_redo_are_noticed(reader, image, calls):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = follow(labels, calls)
    labels.paint((0, 20, 20), 1)
    n = planes.take(reader).n_painted
    labels.undo()
    assert planes.take(reader).n_painted == 0
    labels.redo()
    assert planes.take(reader).n_painted == n


def test_erasing_and_filling_are_noticed(reader, image, calls):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = follow(labels, calls)
    labels.fill((2, 5, 5), 2)
    assert planes.take(reader).n_painted == 64 * 80
    labels.fill((2, 5, 5), 0)
    assert planes.take(reader).planes == ()


def test_a_new_array_is_scanned_again(reader, image, calls):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = follow(labels, calls)
    planes.take(reader)
    labels.data = np.ones(image.shape, np.uint8)
    assert len(planes.take(reader).planes) == 5


def test_strokes_written_into_the_array_are_noticed(reader, image, calls):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = PaintedPlanes(labels, lambda: calls.append(1), is_empty=True)
    assert planes.take(reader).n_painted == 0
    labels.data[2, 10:20, 10:20] = 1
    labels.refresh()
    assert calls and planes.take(reader).n_painted == 100
    labels.data[4, :, 50:60] = 2
    labels.data[2, 40:50, 40:50] = 2
    labels.refresh()
    assert planes.take(reader).n_painted == 200 + 64 * 10


def test_a_large_array_is_searched_for_what_was_written_only_while_nothing_is_known(reader, image, calls, monkeypatch):
    monkeypatch.setattr(painted, "RESCAN_BYTES", 0)
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = PaintedPlanes(labels, lambda: calls.append(1), is_empty=True)
    planes.take(reader)
    labels.data[2, 10:20, 10:20] = 1
    labels.refresh()
    assert planes.take(reader).n_painted == 100
    counted = Counted(labels.data)
    monkeypatch.setattr(painted, "array_of", lambda layer: counted)
    labels.refresh()  # as a slider does
    planes.take(reader)
    assert counted.n_read == 1


def test_a_layer_made_empty_is_not_searched_for_older_strokes(reader, image, calls, monkeypatch):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = PaintedPlanes(labels, lambda: calls.append(1), is_empty=True)
    labels.paint((2, 20, 20), 1)
    counted = Counted(labels.data)
    monkeypatch.setattr(painted, "array_of", lambda layer: counted)
    assert planes.take(reader).n_painted and counted.n_read == 1


def test_strokes_that_cannot_be_read_are_looked_for_again(reader, image, calls, monkeypatch):
    labels = Labels(np.ones(image.shape, np.uint8))
    planes = follow(labels, calls)
    with monkeypatch.context() as patch:
        patch.setattr(painted, "_find_paint", lambda array: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(OSError):
            planes.take(reader)
    assert len(planes.take(reader).planes) == 5


def test_nothing_new_is_the_very_same_painting(reader, image, calls):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = follow(labels, calls)
    labels.paint((0, 20, 20), 1)
    first = planes.take(reader)
    labels.refresh()  # as a slider does
    assert planes.take(reader) is first
    labels.paint((1, 20, 20), 1)
    second = planes.take(reader)
    assert second is not first and second.planes[0] is first.planes[0]


def test_the_cost_of_a_stroke_does_not_grow_with_the_stack(reader, image, calls, monkeypatch):
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = follow(labels, calls)
    planes.take(reader)
    counted = Counted(labels.data)
    monkeypatch.setattr(painted, "array_of", lambda layer: counted)
    labels.paint((2, 20, 20), 1)
    planes.take(reader)
    assert counted.n_read == 1


def test_a_large_plane_travels_as_crops_around_its_strokes(calls):
    big = np.zeros((WHOLE_PX + 1000, 4 * WHOLE_PX), np.uint8)
    labels = Labels(np.zeros(big.shape, np.uint8))
    labels.data[100, 100], labels.data[100, 8000] = 1, 2
    painting = follow(labels, calls).take(PlaneReader(Picture(big, "YX")))
    assert len(painting.planes) == 2 and all(max(p.image.shape) <= WHOLE_PX for p in painting.planes)
    for plane in painting.planes:
        ((y, x),) = plane.strokes.yx
        assert 0 <= y < plane.image.shape[0] and 0 <= x < plane.image.shape[1]


def test_strokes_on_a_channel_belong_to_the_channel_on_display(calls):
    data = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
    picture = Picture(data, "ZCYX", channel=1)
    narrow = Labels(np.zeros((2, 1, 64, 64), np.uint8))
    narrow.data[1, 0, 5, 5] = 1
    (plane,) = follow(narrow, calls).take(PlaneReader(picture)).planes
    np.testing.assert_array_equal(plane.image, data[1, 1])
    full = Labels(np.zeros((2, 3, 64, 64), np.uint8))
    full.data[0, 1, 5, 5], full.data[0, 2, 5, 5] = 1, 2
    assert follow(full, calls).take(PlaneReader(picture)).classes == (1,)


def test_a_new_strokes_layer_has_a_place_for_each_channel():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((2, 3, 64, 64), np.uint8), axis_labels=("z", "c", "y", "x"), scale=(5, 1, 2, 2))
    viewer.dims.set_point(1, 1)
    picture = take_picture(image, viewer)
    labels = new_strokes_layer(viewer, image, picture)
    labels.paint((1, 2, 20, 20), 1)
    assert labels.data.shape == (2, 3, 64, 64)
    np.testing.assert_allclose(labels.data_to_world((1, 2, 3, 4)), image.data_to_world((1, 2, 3, 4)))
    assert follow(labels, []).take(PlaneReader(picture)).n_painted == 0
    check_channel(labels, image, picture)


def test_strokes_for_one_channel_alone_are_not_learned_on_another():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((3, 64, 64), np.uint8), axis_labels=("c", "y", "x"), scale=(4, 1, 1))
    narrow = viewer.add_labels(np.ones((1, 64, 64), np.uint8), name="on 2", translate=(8, 0, 0), scale=(4, 1, 1))
    for channel in range(3):
        viewer.dims.set_point(0, 4 * channel)
        picture = take_picture(image, viewer)
        if channel == 2:
            check_channel(narrow, image, picture)
        else:
            with pytest.raises(StrokesError, match=f"on channel 2 .* channel {channel} is on display"):
                check_channel(narrow, image, picture)


@pytest.mark.parametrize(
    "moved", [{"translate": (40, 0)}, {"scale": (2, 2)}, {"rotate": 10}, {"affine": np.diag([2, 2, 1])}]
)
def test_strokes_that_do_not_lie_over_their_image_are_refused(moved):
    image = Image(np.zeros((64, 64)), name="a", scale=(0.5, 0.5), translate=(7, 3))
    over = Labels(np.zeros((64, 64), np.uint8), scale=(0.5, 0.5), translate=(7, 3))
    check_place(over, image)
    for name, value in moved.items():
        setattr(over, name, value)
    with pytest.raises(StrokesError, match=r"do not lie over 'a'"):
        check_place(over, image)
    check_place(Labels(np.zeros((64, 64), np.uint8)), image)  # as from a file that knows no pixel size


def test_values_that_are_no_classes_are_refused(reader, image, calls):
    with pytest.raises(StrokesError, match="-1"):
        follow(Labels(np.full(image.shape, -1, np.int16)), calls).take(reader)
    with pytest.raises(StrokesError, match="classes 1 to 255"):
        follow(Labels(np.full(image.shape, 700, np.int32)), calls).take(reader)


def test_painted_objects_may_have_any_number(reader, image, calls):
    labels = Labels(np.zeros(image.shape, np.int32))
    labels.data[1, 0, :5] = [1, 2, 300, 65536, 131073]
    planes = follow(labels, calls)
    painting = planes.take(reader, as_objects=True)
    assert painting.planes[0].strokes.classes.tolist() == [1, 2, 2, 2, 2]
    assert planes.take(reader, as_objects=True) is painting
    with pytest.raises(StrokesError, match=r"classes 1 to 255, .* 'objects of' .* 'strokes are objects'"):
        planes.take(reader)


def test_a_stroke_on_a_plane_without_a_finite_pixel_is_left_out_and_named(image, calls):
    empty = image.astype(np.float32)
    empty[[1, 4]] = np.nan
    reader = PlaneReader(Picture(empty, "ZYX"))
    labels = Labels(np.zeros(image.shape, np.uint8))
    planes = follow(labels, calls)
    labels.data[2, 5, 5:9] = 1
    labels.data[4, 5, 5] = 2
    assert [len(p.strokes) for p in planes.take(reader).planes] == [4]
    assert planes.left_out.startswith("the strokes on slice 4 are left out")
    labels.paint((1, 20, 20), 1)
    planes.take(reader)
    assert "slices 1 and 4" in planes.left_out
    labels.undo()
    labels.fill((4, 5, 5), 0)
    planes.take(reader)
    assert planes.left_out == ""


def test_strokes_on_planes_without_a_finite_pixel_alone_are_refused(image, calls):
    labels = Labels(np.zeros(image.shape, np.uint8))
    labels.data[1, 5, 5] = 1
    with pytest.raises(PictureError, match="no finite pixel"):
        follow(labels, calls).take(PlaneReader(Picture(np.full(image.shape, np.nan, np.float32), "ZYX")))


def test_a_plane_that_cannot_be_read_is_tried_again(image, calls):
    class Broken(PlaneReader):
        is_broken = True

        def take_intensity(self, index):
            if self.is_broken:
                raise OSError("gone")
            return super().take_intensity(index)

    reader = Broken(Picture(image, "ZYX"))
    labels = Labels(np.zeros(image.shape, np.uint8))
    labels.data[0, 5, 5] = 1
    planes = follow(labels, calls)
    with pytest.raises(OSError):
        planes.take(reader)
    reader.is_broken = False
    assert planes.take(reader).n_painted == 1


@pytest.mark.parametrize("shape", [(64, 80), (5, 64, 81), (4, 64, 80)])
def test_a_strokes_layer_of_another_shape_is_refused_with_a_cure(image, shape):
    with pytest.raises(StrokesError, match="New strokes layer"):
        check_strokes(Labels(np.zeros(shape, np.uint8)), Picture(image, "ZYX"))


def test_no_strokes_layer_is_refused_with_a_cure(image):
    with pytest.raises(StrokesError, match="New strokes layer"):
        check_strokes(None, Picture(image, "ZYX"))


def test_what_a_model_marked_is_told_from_what_was_painted(reader, image, calls):
    array = np.zeros(image.shape, np.uint8)
    array[3, 10:13, 20:23], array[3, 40:43, 20:23], array[3, 50, 5:9] = 1, 2, 2
    dots = Strokes.of_plane(np.where(np.arange(64)[:, None] < 45, array[3], 0))
    labels = Labels(array, metadata={MADE: {(3,): dots}})
    planes = follow(labels, calls)
    (plane,) = planes.take(reader).planes
    assert plane.strokes.marks.sum() == 18 and not plane.strokes.marks[plane.strokes.yx[:, 0] == 50].any()
    labels.brush_size = 1
    labels.paint((3, 11, 21), 2)  # corrected
    (plane,) = planes.take(reader).planes
    assert plane.strokes.marks.sum() == 17 and len(plane.strokes) == 22
