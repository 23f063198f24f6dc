"""A slice that the user corrects in a result is known: it stays, its neighbours learn from it, and nothing of it is lost."""

import numpy as np
import pytest
from napari.layers import Image

from napari_fewshot.core.scores import mean_iou
from napari_fewshot.ui.results import METADATA

HERE = 5  # the slice that is corrected


@pytest.fixture
def drifting():
    """(9, 160, 192) discs whose contrast goes and whose texture comes along the stack, and their truth."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:160, :192]
    planes, truth = [], []
    for z in range(9):
        inside = ((y % 64) - 32) ** 2 + ((x + 2 * z) % 64 - 32) ** 2 < 20**2
        noise = rng.normal(0, 12, inside.shape) + 3 * z * inside * rng.normal(0, 1, inside.shape)
        planes.append(np.clip(110 + 60 * (1 - z / 8) * inside + noise, 0, 255).astype(np.uint8))
        truth.append((1 + inside).astype(np.uint8))
    return np.stack(planes), np.stack(truth)


@pytest.fixture
def guide(dock, viewer, drifting, clicks, paint):
    """The dock at the slice to be corrected of the stack, with strokes on its first slice."""
    image, truth = drifting
    viewer.add_image(image, name="drift", scale=(4.0, 0.5, 0.5), translate=(7.0, 3.0, 1.0))
    viewer.dims.set_current_step(0, 0)
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, truth[0], index=(0,), n=3)
    viewer.dims.set_current_step(0, HERE)
    dock._tabs.setCurrentIndex(1)
    return dock.guide.guiding


@pytest.fixture
def propagate(guide, clicks, wait):
    def click():
        clicks("propagate")
        wait(lambda: not guide.is_running)
        return [x for x in guide._viewer.layers if x.metadata.get(METADATA, {}).get("parameters", {}).get("scope")]

    return click


def test_a_corrected_slice_stays_and_its_neighbours_become_better(dock, guide, drifting, propagate):
    truth = drifting[1]
    (result,) = propagate()
    before = np.array(result.data)
    result.data[HERE] = truth[HERE]
    result.refresh()
    assert propagate() == [result]
    np.testing.assert_array_equal(result.data[HERE], truth[HERE])
    for z in (HERE - 1, HERE + 1):
        assert mean_iou(result.data[z], truth[z]) > max(0.9, mean_iou(before[z], truth[z]))
    assert result.metadata[METADATA]["parameters"]["corrected"] == [(HERE,)]


def test_painting_into_a_result_corrects_it_and_undo_takes_that_back(dock, guide, propagate):
    (result,) = propagate()
    answered = np.array(result.data[HERE])
    result.brush_size = 9
    result.paint((HERE, 80, 90), 3)
    corrected = np.array(result.data[HERE])
    propagate()
    np.testing.assert_array_equal(result.data[HERE], corrected)
    guide._viewer.dims.set_current_step(0, HERE - 1)
    propagate()  # from another slice: the correction is learned from and stays all the same
    np.testing.assert_array_equal(result.data[HERE], corrected)
    result.undo()
    propagate()
    np.testing.assert_array_equal(result.data[HERE], answered)


def test_strokes_stay_as_painted_in_what_is_propagated(dock, guide, propagate):
    strokes = dock.data.labels_layer.layer
    strokes.brush_size = 1
    strokes.paint((HERE + 1, 32, 32), 1)  # where nobody would call it background
    (result,) = propagate()
    painted = np.asarray(strokes.data) > 0
    reached = np.array([plane.any() for plane in result.data])
    assert reached[HERE + 1]
    np.testing.assert_array_equal(result.data[reached][painted[reached]], strokes.data[reached][painted[reached]])


@pytest.mark.parametrize("scope", ["slice", "layer"])
def test_a_corrected_result_of_apply_is_known_too_and_stays_as_it_is(
    dock, guide, drifting, clicks, wait, propagate, scope
):
    dock._tabs.setCurrentIndex(0)
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: not dock._trainer.is_training and "saved" in dock.status.text().lower())
    dock.apply.scope.setCurrentIndex(dock.apply.scope.findData(scope))
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    (applied,) = [x for x in guide._viewer.layers if METADATA in x.metadata and "told" in x.metadata[METADATA]]
    applied.data[HERE if scope == "layer" else 0] = drifting[1][HERE]
    kept = np.array(applied.data)
    dock._tabs.setCurrentIndex(1)
    (result,) = set(propagate()) - {applied}
    np.testing.assert_array_equal(applied.data, kept)
    np.testing.assert_array_equal(result.data[HERE], drifting[1][HERE])
    assert result.metadata[METADATA]["parameters"]["corrected"] == [(HERE,)]


def test_what_nobody_corrected_is_answered_anew(dock, guide, drifting, paint, propagate):
    (result,) = propagate()
    before = np.array(result.data[HERE])
    paint(dock.data.labels_layer.layer, drifting[1][HERE], index=(HERE,), n=3, seed=1)
    assert propagate() == [result]
    assert mean_iou(result.data[HERE], drifting[1][HERE]) > mean_iou(before, drifting[1][HERE])
    assert result.metadata[METADATA]["parameters"]["corrected"] == []


def test_confidence_of_a_corrected_slice_is_full_and_comes_into_the_layer_that_is_there(
    dock, guide, drifting, propagate
):
    dock.apply.confidence.setChecked(True)
    result, confidence = sorted(propagate(), key=lambda x: isinstance(x, Image))
    result.data[HERE] = drifting[1][HERE]
    assert set(propagate()) == {result, confidence}
    assert np.all(np.asarray(confidence.data[HERE]) == 1)


def test_a_result_that_is_painted_on_as_strokes_is_never_written_to(dock, guide, propagate):
    (result,) = propagate()
    dock.data.labels_layer.layer = result
    before = np.array(result.data)
    (_, other) = sorted(propagate(), key=lambda x: x is not result)
    np.testing.assert_array_equal(result.data, before)
    assert other is not result
