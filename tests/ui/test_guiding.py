"""Next leads to where a stroke helps, Propagate stays where it is sure, and what is learned waits for a word."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_fewshot.compute.events import Failed, Lost
from napari_fewshot.core.errors import StorageError
from napari_fewshot.core.strokes import Strokes
from napari_fewshot.ui import guiding
from napari_fewshot.ui.classes import is_made_for
from napari_fewshot.ui.docks.quality_plot import QualityPlot
from napari_fewshot.ui.layers import take_picture
from napari_fewshot.ui.learning import LearnedDots
from napari_fewshot.ui.results import METADATA, Place, ResultStack

ODD = 5  # the slice that looks like nothing painted


@pytest.fixture
def stack(dock, viewer, clicks, paint, blobs):
    """A stack of discs, painted on its slice 2, with a slice of stripes and an odd one; the dock shows its page."""
    image, truth = blobs
    planes = np.stack([np.roll(image, z, axis=1) for z in range(8)])
    planes[ODD] = np.random.default_rng(1).integers(0, 255, image.shape)
    layer = viewer.add_image(planes, name="discs", scale=(4.0, 0.5, 0.5), translate=(7.0, 3.0, 1.0), units="nm")
    viewer.dims.set_current_step(0, 2)
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, np.roll(truth, 2, axis=1), index=(2,), n=6)
    dock._tabs.setCurrentIndex(1)
    return layer


@pytest.fixture
def guide(dock, monkeypatch):
    monkeypatch.setattr(guiding, "SURVEY_S", 60.0)  # all slices are looked at, however slow the machine
    return dock.guide.guiding


def place(guide):
    """The slice on display and the middle of the view, in pixels."""
    viewer, layer = guide._viewer, guide._scene.image
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    middle = layer.world_to_data((viewer.dims.point[0], *camera.center[-2:]))
    return guide.here, np.array(middle[-2:])


def test_next_goes_to_the_slice_that_looks_like_nothing_painted_and_then_on(
    dock, guide, stack, clicks, wait, paint, blobs
):
    clicks("next_place")
    assert dock.guide.stop.isEnabled() and not dock.train.fine_tune.isEnabled()
    wait(lambda: not guide.is_running)
    slices, quality = guide.curve
    assert slices == list(range(8)) and dock.guide.plot.n_points == 8
    assert int(np.argmin(quality)) == ODD == guide.here
    first, (spot,) = place(guide), guide._shown
    assert all(s.start <= m <= s.stop for s, m in zip(spot.box, first[1], strict=True))
    survey = guide.work
    clicks("next_place")  # no new strokes: another place, without looking again
    wait(lambda: len(guide._shown) == 2)
    assert guide.work is survey and not guide._shown[1].overlaps(spot)
    paint(dock.data.labels_layer.layer, blobs[1], index=(ODD,), n=1)
    clicks("next_place")
    wait(lambda: guide.work is not survey and not guide.is_running)


def test_next_looks_again_at_another_channel_other_pixels_and_strokes_of_another_kind(
    dock, guide, viewer, clicks, wait, paint, blobs
):
    image, truth = blobs
    layer = viewer.add_image(np.stack([image, 255 - image]), name="two", axis_labels=("c", "y", "x"))
    viewer.dims.set_point(0, 0)
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, truth, index=(0,), n=6)
    dock._tabs.setCurrentIndex(1)

    def next_surveys():
        survey, strokes_compared = guide.work, []
        clicks("next_place")
        dock._bridge.call(lambda: None, lambda *what: strokes_compared.append(1))
        wait(lambda: bool(strokes_compared) and not guide.is_running)
        return guide.work is not survey

    assert next_surveys() and not next_surveys()
    layer.data = layer.data[:, ::-1].copy()
    assert next_surveys() and not next_surveys()
    dock.objects.wanted.setChecked(True)
    dock.objects.painted.setChecked(True)
    assert next_surveys() and not next_surveys()
    viewer.dims.set_point(0, 1)
    clicks("next_place")
    wait(lambda: not guide.is_running)
    assert guide._scene.picture.channel == 1


def test_a_click_on_the_curve_goes_to_that_slice(dock, guide, stack, clicks, wait):
    clicks("next_place")
    wait(lambda: not guide.is_running)
    plot = dock.guide.plot
    plot.choose_at(plot.getPlotItem().vb.mapViewToScene(plot._curve.curve.mapToItem(plot._curve, 3.2, 0.5)))
    assert guide.here == 3 and plot._here.value() == 3


def test_next_jumps_to_a_region_of_a_single_image(dock, guide, viewer, clicks, wait, paint, blobs):
    image, truth = blobs
    viewer.add_image(np.tile(image, (2, 2)), name="large")
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, truth)
    dock._tabs.setCurrentIndex(1)
    clicks("next_place")
    wait(lambda: not guide.is_running)
    (spot,) = guide._shown
    assert spot.index == () and dock.guide.plot.n_points == 0
    clicks("next_place")
    wait(lambda: len(guide._shown) == 2)
    assert not guide._shown[1].overlaps(spot)


def test_propagate_goes_both_ways_says_where_it_stopped_and_lies_over_its_source(
    dock, guide, stack, viewer, clicks, wait, blobs
):
    clicks("propagate")
    wait(lambda: not guide.is_running)
    (result,) = [
        x for x in viewer.layers if x.metadata.get(METADATA, {}).get("parameters", {}).get("scope") == "propagate"
    ]
    done = [z for z in range(8) if np.asarray(result.data[z]).any()]
    assert done == [0, 1, 2, 3, 4]
    assert np.mean(result.data[3] == np.roll(blobs[1], 3, axis=1)) > 0.9
    np.testing.assert_allclose(result.translate, stack.translate)
    (stop,) = result.metadata[METADATA]["parameters"]["stops"]
    assert stop.startswith(f"stopped before slice {ODD}") and stop in dock.status.text()


def test_a_propagation_whose_result_is_removed_says_so_at_its_end(dock, guide, stack, viewer, clicks, wait):
    clicks("propagate")
    wait(lambda: "discs em-segment" in viewer.layers)
    viewer.layers.remove("discs em-segment")
    wait(lambda: not guide.is_running)
    assert "the result layer was removed" in dock.status.text().lower()


@pytest.mark.parametrize("end", [Failed("", "the disk is full"), Lost("", "the worker died")])
def test_a_propagation_that_fails_does_not_blame_the_user(dock, guide, stack, viewer, clicks, wait, end):
    clicks("propagate")
    wait(lambda: "discs em-segment" in viewer.layers)
    dock._bridge.close_work(guide.work, end)
    about = viewer.layers["discs em-segment"].metadata[METADATA]
    assert about["parameters"]["stops"] == [end.message]


def test_a_propagation_that_fills_the_disk_says_so_and_what_is_done_stays(
    dock, guide, stack, viewer, clicks, wait, monkeypatch
):
    write, written = ResultStack.write, []

    def nearly_full(self, index, values):
        written.append(index)
        if len(written) > 2:
            raise StorageError("the disk is full")
        write(self, index, values)

    monkeypatch.setattr(ResultStack, "write", nearly_full)
    clicks("propagate")
    wait(lambda: not guide.is_running)
    result = viewer.layers["discs em-segment"]
    assert sum(np.asarray(plane).any() for plane in result.data) == 2
    assert result.metadata[METADATA]["parameters"]["stops"] == ["the disk is full"]
    assert "the disk is full; what is done stays" in dock.status.text()


def test_a_series_of_channels_is_followed_along_time_on_the_channel_on_display(
    dock, guide, viewer, clicks, wait, paint, blobs
):
    image, truth = blobs
    series = np.stack([np.stack([np.roll(image, t, axis=1), 255 - image]) for t in range(3)])
    viewer.add_image(series, name="series", axis_labels=("t", "c", "y", "x"))
    viewer.dims.set_point([0, 1], [1, 0])
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, np.roll(truth, 1, axis=1), index=(1, 0), n=6)
    dock._tabs.setCurrentIndex(1)
    clicks("next_place")
    wait(lambda: not guide.is_running)
    assert guide.curve[0] == [0, 1, 2]
    slice_ = viewer.dims.current_step[0]
    assert guide.here == slice_ and f"slice {slice_}:" in dock.status.text().lower()
    viewer.dims.set_point(0, 1)
    clicks("propagate")
    wait(lambda: not guide.is_running)
    (result,) = [x for x in viewer.layers if "propagate" in str(x.metadata.get(METADATA, {}).get("parameters"))]
    assert "3 slices done" in dock.status.text()
    for t in range(3):
        assert np.mean(result.data[t, 0] == np.roll(truth, t, axis=1)) > 0.9


def test_what_is_learned_waits_until_it_is_accepted(dock, guide, stack, viewer, clicks, wait):
    strokes = dock.data.labels_layer.layer
    dock.guide.learn.setChecked(True)
    clicks("next_place")
    wait(lambda: not guide.is_running)
    assert "discs learned" in viewer.layers and dock.data.labels_layer.layer is strokes
    clicks("reject_learned")
    assert "discs learned" not in viewer.layers and not dock.guide.accept.isEnabled()
    strokes.paint((3, 2, 2), 1)
    painted = strokes.data.copy()
    survey = guide.work
    clicks("next_place")
    wait(lambda: guide.work is not survey and not guide.is_running)
    clicks("accept_learned")
    accepted = dock.data.labels_layer.layer
    assert is_made_for(accepted, stack)
    assert accepted.name == "discs strokes and learned" and np.array_equal(strokes.data, painted)
    assert np.array_equal(accepted.data[painted > 0], painted[painted > 0])
    assert np.asarray(accepted.data[7]).any() and not dock.guide.accept.isEnabled()


def test_marks_are_not_accepted_for_another_image(dock, guide, stack, viewer, clicks, wait, blobs):
    dock.guide.learn.setChecked(True)
    clicks("next_place")
    wait(lambda: not guide.is_running)
    other = viewer.add_image(blobs[0], name="other")
    dock.data.image_layer.layer = other
    clicks("accept_learned")
    assert "learned on 'discs'" in dock.status.text() and "discs learned" in viewer.layers
    assert dock.data.labels_layer.layer is None
    dock.data.image_layer.layer = stack
    clicks("accept_learned")
    assert dock.data.labels_layer.layer.name == "discs strokes and learned"


def test_marks_that_are_accepted_again_make_no_longer_a_name(dock, viewer, blobs):
    image = viewer.add_image(blobs[0], name="discs")
    dots = LearnedDots(viewer)
    strokes = viewer.add_labels(np.ones(blobs[0].shape, np.uint8), name="discs strokes")
    for _ in range(3):
        picture = take_picture(image, viewer)
        dots.follow(picture, Place.of_layer(image), dock._bridge.models.card("em-segment"))
        dots.add((), Strokes.of_plane(blobs[1]))
        strokes = dots.accept(strokes)
        assert strokes.name.split(" [")[0] == "discs strokes and learned"


def test_a_single_slice_has_no_stack_to_be_carried_through(dock, guide, viewer, clicks, paint, blobs):
    for name, image in (("flat", blobs[0]), ("a stack of one", blobs[0][None])):
        dock.data.image_layer.layer = viewer.add_image(image, name=name)
        clicks("new_strokes")
        paint(dock.data.labels_layer.layer, blobs[1], index=(0,) * (image.ndim - 2))
        dock._tabs.setCurrentIndex(1)
        clicks("propagate")
        assert f"'{name}' is a single slice" in dock.status.text()
        assert guide.work is None and not dock._bridge.is_busy


def test_a_model_that_knows_its_classes_is_guided_without_strokes(dock, guide, stack, viewer, clicks, wait):
    strokes = dock.data.labels_layer.layer
    dock._tabs.setCurrentIndex(0)
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2" and not dock._bridge.is_busy)
    viewer.layers.remove(strokes)
    dock._tabs.setCurrentIndex(1)
    clicks("next_place")
    wait(lambda: not guide.is_running)
    assert guide.curve[0] == list(range(8)) and len(guide._shown) == 1
    survey = guide.work
    clicks("next_place")
    wait(lambda: len(guide._shown) == 2)
    assert guide.work is survey
    clicks("propagate")
    wait(lambda: not guide.is_running)
    assert "discs em-segment-2" in viewer.layers and "propagated:" in dock.status.text().lower()
    dock.data.model.setCurrentIndex(dock.data.model.findData("em-segment"))
    clicks("next_place")
    assert "New strokes layer" in dock.status.text() and not guide.is_running


def test_a_survey_can_be_stopped_and_a_restoration_is_told_why_not(dock, guide, stack, clicks, wait):
    clicks("next_place")
    wait(lambda: bool(guide.seen) or not guide.is_running)
    if guide.is_running:
        clicks("stop_guide")
    wait(lambda: not guide.is_running)
    assert dock.train.fine_tune.isEnabled()
    dock.data.task.setCurrentIndex(1)
    guide.next()
    assert "segmentation" in dock.status.text()


def test_a_plot_without_a_curve_has_no_numbers_and_one_of_few_slices_whole_ones(qtbot):
    plot = QualityPlot()
    qtbot.addWidget(plot)
    slices = plot.getAxis("bottom")
    assert plot.focusPolicy() == Qt.FocusPolicy.NoFocus
    assert not slices.style["showValues"]
    plot.show_curve([0, 1, 2], [0.6, 0.7, 0.6])
    ticks = [tick for _, level in slices.tickValues(-0.1, 2.1, 400) for tick in level]
    assert slices.style["showValues"] and sorted(ticks) == [0, 1, 2]
