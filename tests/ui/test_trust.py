"""A restoration says what it took away and how far it may be off, and shows other answers that are as likely."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QCheckBox, QSlider


@pytest.fixture
def restoring(dock, viewer, blobs):
    """A dock with a noisy image and the task of denoising."""
    image = viewer.add_image(blobs[0], name="grains", scale=(2, 2))
    dock.data.image_layer.layer = image
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    return image


def layer_named(viewer, ending):
    return next((x for x in viewer.layers if x.name.endswith(ending)), None)


def test_the_controls_of_trust_are_there_for_restorations_only(dock, restoring):
    assert dock.trust.isVisibleTo(dock) and "uncertainty" in dock.apply.confidence.text()
    dock.data.task.setCurrentIndex(dock.data.task.findData("segment"))
    assert not dock.trust.isVisibleTo(dock) and "confidence" in dock.apply.confidence.text()


def test_what_was_taken_away_and_the_uncertainty_become_layers_of_their_own(dock, viewer, restoring, clicks, wait):
    dock.findChild(QCheckBox, "taken_away").setChecked(True)
    dock.findChild(QCheckBox, "confidence").setChecked(True)
    clicks("apply")
    wait(lambda: layer_named(viewer, "uncertainty") is not None and not dock._bridge.is_busy)
    result, residual = (layer_named(viewer, f"em-denoise{e}") for e in ("", " residual"))
    np.testing.assert_allclose(result.data.astype(float) + residual.data, restoring.data, atol=1e-3)
    uncertainty = layer_named(viewer, "uncertainty")
    np.testing.assert_array_equal(uncertainty.scale, restoring.scale)
    assert uncertainty.data.shape == restoring.data.shape and 0 < uncertainty.data.mean() < 20
    assert "noise" in dock.status.text() and "taken away" in dock.status.text()
    assert abs(result.data.mean() / restoring.data.mean() - 1) < 0.005


def test_the_slider_walks_through_alternatives_of_what_is_seen(dock, viewer, restoring, clicks, wait):
    slider = dock.findChild(QObject, "alternative")
    assert not slider.isEnabled()
    clicks("show_alternatives")
    wait(lambda: slider.isEnabled() and not dock._bridge.is_busy)
    layer = layer_named(viewer, "alternatives em-denoise")
    answer = layer.data.copy()
    slider.setValue(3)
    assert not np.array_equal(layer.data, answer)
    slider.setValue(0)
    np.testing.assert_array_equal(layer.data, answer)
    viewer.layers.remove(layer)
    assert not slider.isEnabled() and "no alternatives any more" in dock.status.text()


def test_another_task_has_no_alternatives_yet(dock, viewer, restoring, clicks, wait):
    slider = dock.findChild(QObject, "alternative")
    clicks("show_alternatives")
    wait(lambda: slider.isEnabled() and not dock._bridge.is_busy)
    dock.data.task.setCurrentIndex(dock.data.task.findData("super_resolve"))
    assert not slider.isEnabled()
    clicks("show_alternatives")
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    wait(lambda: not dock._bridge.is_busy)
    assert not slider.isEnabled()


def test_strength_reaches_the_worker_and_the_history_of_the_result(dock, viewer, restoring, clicks, wait):
    noise_left = []
    for n_results, at in enumerate((-10, 10), start=1):
        dock.findChild(QSlider, "strength").setValue(at)
        clicks("apply")
        wait(lambda n=n_results: sum(x.name.startswith("grains em-denoise") for x in viewer.layers) == n)
        wait(lambda: not dock._bridge.is_busy)
        result = viewer.layers[-1]
        noise_left.append(np.diff(result.data.astype(float)).std())
        assert result.metadata["napari_fewshot"]["parameters"]["restoring"]["strength"] == (0.5 if at < 0 else 2.0)
    assert noise_left[1] < noise_left[0]


def test_a_segmentation_may_be_asked_of_the_denoised_image(dock, viewer, blobs, clicks, wait, paint):
    viewer.add_image(blobs[0], name="grains")
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, blobs[1])
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name != "em-segment" and not dock._bridge.is_busy)
    dock.findChild(QCheckBox, "denoise_first").setChecked(True)
    clicks("apply")
    name = f"grains {dock.data.model_name}"
    wait(lambda: layer_named(viewer, f"{name} em-denoise") is not None and not dock._bridge.is_busy)
    denoised, classes = layer_named(viewer, f"{name} em-denoise"), layer_named(viewer, name)
    assert denoised.data.dtype == blobs[0].dtype and np.mean(classes.data == blobs[1]) > 0.9
    assert np.diff(denoised.data.astype(float)).std() < np.diff(blobs[0].astype(float)).std()
    assert classes.metadata["napari_fewshot"]["parameters"]["first"]["name"] == "em-denoise"


def test_one_target_serves_all_frames_of_a_series(dock, viewer, blobs, clicks, wait):
    rng = np.random.default_rng(0)
    frames = np.clip(blobs[0] + rng.normal(0, 10, (4, *blobs[0].shape)), 0, 255).astype(np.uint8)
    series, mean = viewer.add_image(frames, name="series"), viewer.add_image(frames.mean(0), name="mean of series")
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    dock.data.image_layer.layer, dock.data.target_layer.layer = series, mean
    dock.train.seconds.setValue(3)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name != "em-denoise" and not dock._bridge.is_busy)
    assert dock._bridge.models.card(dock.data.model_name).steps > 0


def test_alternatives_go_with_their_task(dock, viewer, restoring, clicks, wait):
    clicks("show_alternatives")
    wait(lambda: layer_named(viewer, "alternatives em-denoise") is not None and not dock._bridge.is_busy)
    dock.data.task.setCurrentIndex(dock.data.task.findData("super_resolve"))
    assert layer_named(viewer, "alternatives em-denoise") is None and not dock.trust.alternative.isEnabled()


def test_alternatives_of_another_slice_than_the_one_on_display_say_so(dock, viewer, restoring, blobs, clicks, wait):
    dock.data.image_layer.layer = viewer.add_image(np.stack([blobs[0]] * 3), name="stack")
    viewer.dims.set_point(0, 0)
    clicks("show_alternatives")
    viewer.dims.set_point(0, 2)
    wait(lambda: layer_named(viewer, "alternatives em-denoise") is not None and not dock._bridge.is_busy)
    assert "8 alternatives of plane (0,) of 'stack': go back there" in dock.status.text()


def test_there_are_no_alternatives_to_an_image_that_was_removed(dock, viewer, restoring, clicks, wait):
    clicks("show_alternatives")
    viewer.layers.remove(restoring)
    wait(lambda: not dock._bridge.is_busy)
    assert layer_named(viewer, "alternatives em-denoise") is None and "was removed" in dock.status.text()


def test_the_history_of_a_result_tells_its_uncertainty_and_of_a_stack_all_planes(
    dock, viewer, restoring, blobs, clicks, wait
):
    planes = np.stack([np.full(blobs[0].shape, np.nan), blobs[0], blobs[0]]).astype(np.float32)
    dock.data.image_layer.layer = viewer.add_image(planes, name="stack")
    dock.findChild(QCheckBox, "confidence").setChecked(True)
    clicks("apply")
    wait(lambda: "planes" in dock.status.text() and not dock._bridge.is_busy)
    result = layer_named(viewer, "stack em-denoise")
    about = result.metadata["napari_fewshot"]
    assert about["parameters"]["restoring"]["uncertainty"] is True
    assert [r["plane"] for r in about["reports"]] == [[1], [2]]
    assert np.isnan(result.data[0]).all() and np.isfinite(result.data[1:]).all()
    assert "in the median the noise is" in dock.status.text()
