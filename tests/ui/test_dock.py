"""The main job with real clicks, a real viewer and a real worker: paint, fine-tune, stop, apply, go back."""

import numpy as np
import pytest

from napari_fewshot.ui.results import METADATA


def result_of(viewer, name):
    (layer,) = [x for x in viewer.layers if x.metadata.get(METADATA, {}).get("model", {}).get("name") == name]
    return layer


@pytest.fixture
def started(dock, viewer, clicks, paint, blobs):
    """An image with strokes of both classes on a layer made by the button."""
    image, truth = blobs
    viewer.add_image(image, name="blobs", scale=(0.5, 0.5), units="nm")
    clicks("new_strokes")
    labels = dock.data.labels_layer.layer
    paint(labels, truth)
    dock.train.seconds.setValue(0)
    return labels


def test_paint_fine_tune_stop_apply_go_back(dock, viewer, started, clicks, wait, paint, blobs):
    truth = blobs[1]
    clicks("fine_tune")
    assert not dock.train.fine_tune.isEnabled() and dock.train.stop.isEnabled()
    wait(lambda: "preview em-segment" in viewer.layers)
    assert viewer.layers.selection.active is started and started.mode == "paint"
    wait(lambda: dock.train.plot.n_points >= 2)
    assert dock.train.score.text()
    sent = []
    compute = dock._bridge.compute()
    original, compute.send = compute.send, lambda job, message: (sent.append(message), original(job, message))
    paint(started, truth, seed=1)
    wait(lambda: bool(sent))
    clicks("stop")
    wait(lambda: dock.data.model_name == "em-segment-2")
    assert "saved as em-segment-2" in dock.status.text().lower()

    clicks("apply")
    wait(lambda: not dock._applier.is_running)
    result = result_of(viewer, "em-segment-2")
    assert "preview em-segment" not in viewer.layers
    assert (result.data == truth).mean() > 0.95 and result.data.dtype == np.uint8
    np.testing.assert_allclose(result.scale, (0.5, 0.5))
    about = result.metadata[METADATA]
    assert about["model"]["id"] == dock._bridge.models.card("em-segment-2").id and about["source"] == "blobs"

    dock._tabs.setCurrentIndex(1)
    dock.versions.select("em-segment")
    clicks("use_version")
    assert dock.data.model_name == "em-segment" and dock._tabs.currentIndex() == 0


def test_resume_goes_on_with_a_child_of_the_last_version(dock, started, clicks, wait):
    for name, click in (("em-segment-2", "fine_tune"), ("em-segment-3", "resume")):
        clicks(click)
        wait(lambda: dock.train.plot.n_points >= 1)
        clicks("stop")
        wait(lambda name=name: dock.data.model_name == name)
    models = dock._bridge.models
    assert models.card("em-segment-3").parent == models.card("em-segment-2").id


def test_live_answers_every_stroke_and_becomes_one_version(dock, viewer, started, clicks, wait, paint, blobs):
    answered = []
    dock._trainer.refitted.connect(lambda: answered.append(1))
    clicks("live")
    wait(lambda: len(answered) == 1)
    assert "preview em-segment" in viewer.layers
    paint(started, blobs[1], n=1, seed=5)
    wait(lambda: len(answered) >= 2)
    dock._trainer.refitted.disconnect()
    clicks("live")
    wait(lambda: dock.data.model_name == "em-segment-2")
    assert dock._bridge.models.card("em-segment-2").steps == 0


def test_a_move_of_the_camera_asks_for_what_is_visible_now(dock, viewer, started, clicks, wait):
    clicks("live")
    wait(lambda: "preview em-segment" in viewer.layers)
    layer = viewer.layers["preview em-segment"]
    assert layer.data.shape[0] == 160
    getattr(viewer, "scene", viewer).camera.zoom *= 4
    wait(lambda: layer.data.shape[0] < 100)


def test_strokes_painted_while_no_one_trains_are_kept_for_later(dock, viewer, started, clicks, wait):
    """Colours and names go into the version, and from there into its results."""
    dock.data.classes.table.item(1, 1).setText("bubble")
    clicks("add_class")
    assert dock.data.labels_layer.layer.selected_label == 3
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2")
    assert [c.name for c in dock._bridge.models.card("em-segment-2").classes] == ["background", "bubble"]


@pytest.mark.parametrize("task", ["denoise", "super_resolve", "remove_background"])
def test_restorations_adapt_and_apply_without_strokes(dock, viewer, clicks, wait, blobs, task):
    viewer.add_image(blobs[0], name="blobs", rotate=20)
    dock.data.task.setCurrentIndex(dock.data.task.findData(task))
    assert not dock.data.labels_layer.isVisible() and dock.data.target_layer.isVisible()
    dock.train.seconds.setValue(1)
    before = dock.data.model_name
    clicks("fine_tune")
    wait(lambda: dock.data.model_name not in (before, ""))
    dock.apply.confidence.setChecked(True)
    clicks("apply")
    wait(lambda: not dock._applier.is_running)
    result, sure = viewer.layers[-2:]
    factor = dock._bridge.models.card(dock.data.model_name).factor
    assert result.data.shape == (160 * factor, 192 * factor) and result.data.dtype == np.uint8
    assert sure.name.endswith("confidence") and sure.data.dtype == np.float32
    np.testing.assert_allclose(
        result.data_to_world((-0.5, -0.5)), viewer.layers["blobs"].data_to_world((-0.5, -0.5)), atol=1e-9
    )


def test_live_shows_a_restoration_of_what_is_visible(dock, viewer, clicks, wait, blobs):
    viewer.add_image(blobs[0], name="blobs")
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    clicks("live")
    wait(lambda: "preview em-denoise" in viewer.layers)
    shown = viewer.layers["preview em-denoise"]
    assert shown.data.dtype == np.uint8 and shown.data.shape[0] == 160 and shown.data.std() > 0


def test_a_stack_is_applied_slice_by_slice_and_stop_keeps_what_is_done(dock, viewer, clicks, wait, blobs):
    viewer.add_image(np.stack([blobs[0]] * 40), name="stack")
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    viewer.dims.set_current_step(0, 20)
    clicks("apply")
    wait(
        lambda: (
            "stack em-denoise" in viewer.layers and viewer.layers["stack em-denoise"].data.any(axis=(1, 2)).sum() > 2
        )
    )
    clicks("stop")
    wait(lambda: not dock._applier.is_running)
    done = viewer.layers["stack em-denoise"].data.any(axis=(1, 2))
    assert done[20] and 2 < done.sum() < 40 and "stay" in dock.status.text()


def test_scopes_mean_what_they_say(dock, viewer, clicks, wait, blobs):
    first = viewer.add_image(np.stack([blobs[0]] * 3), name="first")
    second = viewer.add_image(blobs[0][:100, :120], name="second")
    dock.data.image_layer.layer = first
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))

    def apply(scope):
        before = set(viewer.layers)
        dock.apply.scope.setCurrentIndex(dock.apply.scope.findData(scope))
        clicks("apply")
        wait(lambda: not dock._applier.is_running and not dock._applier._queue)
        return sorted(x.name for x in set(viewer.layers) - before)

    viewer.dims.set_current_step(0, 2)
    assert apply("slice") == ["first em-denoise"]
    result = viewer.layers["first em-denoise"]
    assert result.data.shape == (1, 160, 192) and result.translate[0] == 2
    viewer.layers.remove(result)
    viewer.layers.selection = {second}
    assert apply("selected") == ["second em-denoise"]
    assert apply("all") == ["first em-denoise", "second em-denoise [1]"]


def test_rgb_is_said_to_be_worked_on_as_its_luminance(dock, viewer, clicks, wait, blobs):
    viewer.add_image(np.stack([blobs[0]] * 3, -1), name="colour", rgb=True)
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    heard = []
    dock._applier.started.connect(lambda work: heard.append(dock.status.text()))
    clicks("apply")
    wait(lambda: not dock._applier.is_running)
    assert "luminance" in heard[0] and viewer.layers["colour em-denoise"].data.shape == (160, 192)


def test_strokes_over_more_than_memory_allows_lie_on_disk(dock, viewer, clicks, wait, paint, blobs, monkeypatch):
    from napari_fewshot.ui import classes

    monkeypatch.setattr(classes, "MEMORY_SHARE", 0)
    viewer.add_image(np.stack([blobs[0]] * 3), name="stack")
    clicks("new_strokes")
    labels = dock.data.labels_layer.layer
    assert not isinstance(labels.data, np.ndarray)
    paint(labels, blobs[1], index=(1,))
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2")


def test_a_folder_is_applied_without_opening_it(dock, viewer, clicks, wait, blobs, tmp_path, monkeypatch):
    import tifffile
    from qtpy.QtWidgets import QFileDialog

    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(source / f"{name}.tif", blobs[0])
    answers = iter([str(source), str(target)])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: next(answers))
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    dock.apply.scope.setCurrentIndex(dock.apply.scope.findData("folder"))
    clicks("apply")
    wait(lambda: not dock._folder.is_running)
    wait(lambda: "wrote 2 results" in dock.status.text().lower())
    assert {p.name for p in target.glob("*.tif")} == {"a.tif", "b.tif"} and len(viewer.layers) == 0
