"""The main job with real clicks, a real viewer and a real worker: paint, fine-tune, stop, apply, go back."""

import json
import threading

import numpy as np
import pytest
import tifffile
from napari.layers import Labels

from napari_fewshot.compute.events import Stopped
from napari_fewshot.core.errors import ComputeError
from napari_fewshot.ui.classes import classes_of, has_classes, name_classes
from napari_fewshot.ui.docks import fewshot
from napari_fewshot.ui.folder import How
from napari_fewshot.ui.results import METADATA, default_class


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
    wait(lambda: not dock._apply_desk.is_running)
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


def test_what_a_training_noted_stays_readable_beside_the_name_of_its_version(dock):
    notes = ["too few strokes to hold some out"]
    dock._trainer.saved.emit(dock._bridge.models.card("em-segment"), notes)
    said = dock.status.text().lower()
    assert said.startswith("saved as em-segment") and said.endswith("too few strokes to hold some out")


def test_stopping_ends_in_stopped_whatever_a_sentence_reads_like(dock):
    dock.say("stopping…")
    dock._bridge.busy_changed.emit(False)
    assert dock.status.text() == "Stopping…"
    work = dock._bridge.open_work("a job")
    dock.train.stop_wanted.emit()
    dock._bridge.close_work(work, Stopped(""))
    assert dock.status.text() == "Stopped"


def test_the_sizes_of_a_model_are_listed_side_by_side_the_small_one_first(dock):
    listed = [dock.data.model.itemData(i) for i in range(dock.data.model.count())]
    assert listed[:2] == ["em-segment", "em-segment-base"] and "classic" in listed


def test_resume_goes_on_with_a_child_of_the_last_version(dock, started, clicks, wait):
    for name, click in (("em-segment-2", "fine_tune"), ("em-segment-3", "resume")):
        clicks(click)
        wait(lambda: dock.train.plot.n_points >= 1)
        clicks("stop")
        wait(lambda name=name: dock.data.model_name == name)
    models = dock._bridge.models
    assert models.card("em-segment-3").parent == models.card("em-segment-2").id


def test_strokes_follow_the_image_they_were_painted_on(dock, viewer, clicks, blobs):
    a, b = (viewer.add_image(np.roll(blobs[0], n, axis=1), name=name) for n, name in ((0, "A"), (9, "B")))
    dock.data.image_layer.layer = a
    clicks("new_strokes")
    on_a = dock.data.labels_layer.layer
    dock.data.image_layer.layer = b
    assert dock.data.labels_layer.layer is None
    clicks("new_strokes")
    on_b = dock.data.labels_layer.layer
    dock.data.image_layer.layer = a
    assert dock.data.labels_layer.layer is on_a and "painted on" not in dock.status.text()
    dock.data.labels_layer.layer = on_b
    assert "these strokes were painted on 'b'" in dock.status.text().lower()
    viewer.layers.remove(on_b)
    dock.data.labels_layer.layer = on_a
    viewer.layers.remove(a)
    assert dock.data.image_layer.layer is None and dock.data.labels_layer.layer is on_a
    dock.data.image_layer.layer = b
    assert dock.data.labels_layer.layer is None


def test_strokes_the_user_brought_stay_when_the_image_changes(dock, viewer, blobs):
    a, b = (viewer.add_image(blobs[0], name=name) for name in "AB")
    own = viewer.add_labels(blobs[1])
    for image in (b, a):
        dock.data.image_layer.layer = image
        assert dock.data.labels_layer.layer is own and "painted on" not in dock.status.text()


def test_live_answers_every_stroke_and_becomes_one_version(dock, viewer, started, clicks, wait, paint, blobs):
    answered = []
    dock._trainer.live.refitted.connect(lambda: answered.append(1))
    clicks("live")
    wait(lambda: len(answered) == 1)
    assert "preview em-segment" in viewer.layers
    paint(started, blobs[1], n=1, seed=5)
    wait(lambda: len(answered) >= 2)
    dock._trainer.live.refitted.disconnect()
    clicks("live")
    wait(lambda: dock.data.model_name == "em-segment-2")
    assert dock._bridge.models.card("em-segment-2").steps == 0


def test_live_answers_for_other_strokes_once_they_are_chosen(dock, viewer, started, clicks, wait, blobs):
    clicks("live")
    wait(lambda: "preview em-segment" in viewer.layers and not dock._trainer.live.work.is_running)
    shown = viewer.layers["preview em-segment"].data.copy()
    swapped = np.choose(np.asarray(started.data), [0, 2, 1]).astype(np.uint8)
    other = viewer.add_labels(swapped, scale=(0.5, 0.5), units="nm")
    dock.data.labels_layer.layer = other
    wait(lambda: np.mean(viewer.layers["preview em-segment"].data != shown) > 0.9)
    clicks("live")
    wait(lambda: not dock._bridge.is_busy)


def test_apply_during_a_refit_of_live_waits_for_its_model(dock, viewer, started, clicks, wait):
    clicks("live")
    assert dock._trainer.live.work.is_running
    clicks("apply")
    wait(lambda: "blobs em-segment-2" in viewer.layers and not dock._bridge.is_busy)
    assert not dock.train.live.isChecked() and not dock._applies_when_saved
    assert [c.name for c in dock._bridge.models.of_task("segment")][-1] == "em-segment-2"


def test_what_could_not_be_saved_after_live_is_not_applied(dock, started, clicks, wait, monkeypatch):
    def refuse(model):
        raise RuntimeError("no")

    monkeypatch.setattr(dock._bridge.models, "save", refuse)
    clicks("live")
    clicks("apply")
    assert dock._applies_when_saved
    wait(lambda: not dock._bridge.is_busy and not dock._applies_when_saved)
    assert not dock._apply_desk.is_running and dock._trainer.live.model is None


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


def test_a_class_painted_by_its_number_gets_a_name_and_a_row(dock, viewer, clicks, blobs):
    viewer.add_image(blobs[0], name="blobs")
    clicks("new_strokes")
    labels = dock.data.labels_layer.layer
    with labels.block_history():  # as napari's brush does, from press to release
        labels.selected_label = 4
        labels.paint((20, 20), 4)
    assert [c.name for c in classes_of(labels)] == ["background", "object", "class 3", "class 4"]
    assert dock.data.classes.table.rowCount() == 4 and labels.selected_label == 4


def test_a_class_added_while_it_trains_is_previewed_in_its_colour_and_saved_by_its_name(
    dock, viewer, started, clicks, wait
):
    clicks("fine_tune")
    wait(lambda: "preview em-segment" in viewer.layers)
    clicks("add_class")
    dock.data.classes.table.item(2, 1).setText("membrane")
    started.brush_size = 15
    started.paint((150, 10), 3)
    shown = viewer.layers["preview em-segment"]
    np.testing.assert_allclose(shown.get_color(3), started.get_color(3))
    wait(lambda: (shown.data == 3).any())
    clicks("stop")
    wait(lambda: dock.data.model_name == "em-segment-2")
    assert [c.name for c in dock._bridge.models.card("em-segment-2").classes] == ["background", "object", "membrane"]


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
    wait(lambda: not dock._apply_desk.is_running)
    unsure, result = viewer.layers[-2:]
    factor = dock._bridge.models.card(dock.data.model_name).factor
    assert result.data.shape == (160 * factor, 192 * factor) and result.data.dtype == np.uint8
    assert unsure.name.endswith("uncertainty") and unsure.data.dtype == np.float32
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


def test_live_ends_with_its_image(dock, viewer, clicks, wait, blobs):
    image = viewer.add_image(blobs[0], name="blobs")
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    clicks("live")
    wait(lambda: "preview em-denoise" in viewer.layers)
    viewer.layers.remove(image)
    wait(lambda: not dock.train.live.isChecked() and "preview em-denoise" not in viewer.layers)


def test_live_follows_the_image_and_the_model_but_ends_with_the_task(dock, viewer, started, clicks, wait, blobs):
    clicks("live")
    wait(lambda: "preview em-segment" in viewer.layers)
    dock.data.model.setCurrentIndex(dock.data.model.findData("classic"))
    wait(lambda: "preview classic" in viewer.layers and not dock._bridge.is_busy)
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    assert not dock.train.live.isChecked()
    wait(lambda: not dock._bridge.is_busy)
    assert "preview classic" in viewer.layers and "classic-2" in [c.name for c in dock._bridge.models.cards()]
    clicks("live")
    wait(lambda: "preview em-denoise" in viewer.layers and not dock._bridge.is_busy)
    dock.data.image_layer.layer = viewer.add_image(blobs[0][::-1], name="other")
    wait(lambda: viewer.layers["preview em-denoise"].metadata[METADATA]["source"] == "other")


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
    wait(lambda: not dock._apply_desk.is_running)
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
        wait(lambda: not dock._apply_desk.is_running and not dock._apply_desk.applier._queue)
        return sorted(x.name for x in set(viewer.layers) - before)

    viewer.dims.set_current_step(0, 2)
    assert apply("slice") == ["first em-denoise"]
    result = viewer.layers["first em-denoise"]
    assert result.data.shape == (1, 160, 192) and result.translate[0] == 2
    viewer.layers.remove(result)
    viewer.layers.selection = {second}
    assert apply("selected") == ["second em-denoise"]
    assert apply("all") == ["first em-denoise", "second em-denoise [1]"]


def test_a_version_renamed_while_it_is_applied_is_applied_to_all(dock, viewer, clicks, wait, blobs):
    models = dock._bridge.models
    for name in "abc":
        viewer.add_image(blobs[0], name=name)
    dock.data.choose_model(models.save(models.read("em-denoise")))
    dock.apply.scope.setCurrentIndex(dock.apply.scope.findData("all"))
    clicks("apply")
    wait(lambda: any("em-denoise-2" in layer.name for layer in viewer.layers))
    models.rename("em-denoise-2", "mine")
    dock._on_bridge_models_changed()
    wait(lambda: "3 of 3 planes" in dock.status.text())


def test_rgb_is_said_to_be_worked_on_as_its_luminance(dock, viewer, clicks, wait, blobs):
    viewer.add_image(np.stack([blobs[0]] * 3, -1), name="colour", rgb=True)
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    heard = []
    dock._apply_desk.applier.started.connect(lambda work: heard.append(dock.status.text()))
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
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


@pytest.fixture
def folders(dock, blobs, tmp_path, monkeypatch):
    """Writes that many pictures to a folder and chooses it; gives it and where the results go."""
    import tifffile
    from qtpy.QtWidgets import QFileDialog

    def choose(n):
        source, target = tmp_path / "in", tmp_path / "out"
        source.mkdir()
        for name in "abcdefghijklmnopqrstuvwxyz"[:n]:
            tifffile.imwrite(source / f"{name}.tif", blobs[0])
        answers = iter([str(source), str(target)])
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: next(answers))
        dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
        dock.apply.scope.setCurrentIndex(dock.apply.scope.findData("folder"))
        return source, target

    return choose


def test_a_folder_run_can_be_stopped_and_nothing_else_started_meanwhile(dock, clicks, wait, folders):
    source, target = folders(26)
    clicks("apply")
    assert dock.train.stop.isEnabled()
    assert not dock.apply.apply.isEnabled() and not dock.train.fine_tune.isEnabled()
    work = dock._apply_desk.folder.work
    dock._apply_desk.folder.start(How(dock._bridge.models.card("em-denoise")), source, target)
    assert dock._apply_desk.folder.work is work and "already" in dock.status.text()
    wait(lambda: any(target.glob("*.tif")))
    clicks("stop")
    wait(lambda: dock.apply.apply.isEnabled())
    assert dock.status.text().lower().startswith("stopped") and len(list(target.glob("*.tif"))) < 26
    assert not dock._bridge.is_busy and not dock.train.stop.isEnabled()


def test_the_uncertainty_of_files_goes_beside_their_results(dock, clicks, wait, folders, blobs):
    _, target = folders(1)
    dock.apply.confidence.setChecked(True)
    clicks("apply")
    wait(lambda: "wrote 1 results" in dock.status.text().lower())
    (unsure,) = target.glob("*.uncertainty.tif")
    values = tifffile.imread(unsure)
    assert values.shape == blobs[0].shape and (values > 0).all()


def test_many_files_that_cannot_be_used_are_counted_and_a_few_named(dock, clicks, wait, folders):
    source, _ = folders(1)
    for n in range(30):
        (source / f"bad_{n:02d}.tif").write_bytes(b"no picture")
    clicks("apply")
    wait(lambda: "wrote 1 results" in dock.status.text().lower())
    text = dock.status.text()
    assert "30 failed" in text and "bad_02.tif: " in text and "bad_03" not in text and "and 27 more" in text


@pytest.mark.parametrize("error", [ComputeError("the worker has been closed"), RuntimeError("the worker was closed")])
def test_a_worker_taken_away_from_a_folder_by_a_closing_viewer_is_a_stop(dock, clicks, wait, folders, error):
    folders(3)
    run, ended = dock._apply_desk.folder, []
    run.ended.connect(lambda *what: ended.append(what))

    def close_instead(hear, job):
        run.work.stopping.set()
        raise error

    dock._bridge.submit_for = close_instead
    clicks("apply")
    wait(lambda: bool(ended))
    ((sentence, is_failure),) = ended
    assert sentence.startswith("stopped") and not is_failure


def test_a_folder_is_restored_as_strongly_as_a_layer(dock, viewer, clicks, wait, folders, blobs):
    _, target = folders(1)
    dock.trust.strength.setValue(dock.trust.strength.maximum())
    dock.apply.confidence.setChecked(True)
    clicks("apply")
    wait(lambda: (target / "a.tif").exists() and not dock._bridge.is_busy)
    told = json.loads((target / "a.tif.json").read_text())["parameters"]
    assert told["restoring"]["strength"] == 2.0 and told["restoring"]["uncertainty"]
    viewer.add_image(blobs[0], name="blobs")
    dock.apply.scope.setCurrentIndex(dock.apply.scope.findData("layer"))
    dock.apply.confidence.setChecked(False)
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    np.testing.assert_array_equal(tifffile.imread(target / "a.tif"), viewer.layers["blobs em-denoise"].data)


def test_a_worker_that_failed_is_tried_anew_for_a_folder(dock, clicks, wait, folders):
    _, target = folders(1)
    bridge = dock._bridge
    moved = []
    bridge.use_device = lambda *where: moved.append(where) or bridge._set_state("ready")
    bridge._set_state("failed: no route to host")
    clicks("apply")
    wait(lambda: (target / "a.tif").exists() and not bridge.is_busy)
    assert moved == [(bridge.device, None)]


def test_a_result_can_be_corrected_as_strokes(dock, viewer, started, clicks, wait):
    dock.train.seconds.setValue(2)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2")
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    result = viewer.layers["blobs em-segment-2"]
    dock.data.labels_layer.layer = result
    assert [c.name for c in classes_of(result)] == ["background", "object"]
    name_classes(result, (*classes_of(result), default_class(3)))
    assert result.metadata[METADATA]["model"]["name"] == "em-segment-2" and has_classes(result)


def test_nothing_of_a_job_is_kept_when_it_has_ended(dock, viewer, clicks, wait, blobs):
    import gc

    from napari_fewshot.ui.landing import Landing
    from napari_fewshot.ui.work import Work

    viewer.add_image(blobs[0], name="blobs")
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    viewer.layers.remove("blobs em-denoise")

    def is_forgotten():
        gc.collect()
        return not any(type(x) is Landing for x in gc.get_objects())

    wait(is_forgotten, 10_000)
    assert not dock._bridge.findChildren(Work) and not dock._bridge._hearers


def test_a_plane_that_cannot_be_used_is_named_and_costs_no_other(dock, viewer, clicks, wait, blobs):
    image = blobs[0].astype(np.float32)
    empty = np.full_like(image, np.nan)
    viewer.add_image(np.stack([image, empty, image]), name="aligned", contrast_limits=(0, 255))
    viewer.add_image(empty, name="empty", contrast_limits=(0, 255))
    viewer.add_image(image, name="whole", contrast_limits=(0, 255))
    dock.data.task.setCurrentIndex(dock.data.task.findData("denoise"))
    dock.apply.scope.setCurrentIndex(dock.apply.scope.findData("all"))
    clicks("apply")
    wait(lambda: "applied" in dock.status.text().lower())
    assert np.isnan(viewer.layers["aligned em-denoise"].data).all(axis=(1, 2)).tolist() == [False, True, False]
    assert viewer.layers["whole em-denoise"].data.all() and "empty em-denoise" not in viewer.layers
    text = dock.status.text()
    assert "3 of 5 planes" in text and "plane (1,) of 'aligned' is left out" in text and "'empty' is left out" in text


def test_a_folder_is_applied_without_opening_it(dock, viewer, clicks, wait, folders):
    _, target = folders(2)
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    wait(lambda: "wrote 2 results" in dock.status.text().lower())
    assert {p.name for p in target.glob("*.tif")} == {"a.tif", "b.tif"} and len(viewer.layers) == 0


def test_what_the_first_strokes_layer_needs_is_imported_off_the_gui_thread(dock, wait, monkeypatch):
    made_in = []
    monkeypatch.setattr(fewshot, "warm_up", lambda: made_in.append(threading.current_thread()))
    dock._bridge.state_changed.emit("ready")
    wait(lambda: bool(made_in))
    assert made_in != [threading.main_thread()]


def test_what_was_said_of_another_image_or_task_does_not_stay(dock, viewer, blobs):
    assert "Open Sample" in dock.status.text()
    for change in (
        lambda: viewer.add_image(blobs[0]),
        lambda: dock.data.task.setCurrentIndex(dock.data.task.findData("denoise")),
        viewer.layers.clear,
    ):
        dock.say("applied a model")
        change()
        assert dock.status.text() == dock.data.hint


def test_a_preview_is_not_offered_as_strokes(dock, viewer, blobs):
    shown = Labels(blobs[1], metadata={METADATA: {"preview": True}})
    viewer.add_layer(shown)
    assert dock.data.labels_layer.layers() == []
