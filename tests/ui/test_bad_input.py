"""Whatever is wrong is told in one sentence with its cure; nothing is lost and nothing hangs."""

import logging

import dask.array as da
import numpy as np
import pytest

from napari_fewshot.core.errors import PictureError, StorageError
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.ui.placing import check_target_place
from napari_fewshot.ui.results import ResultStack


@pytest.fixture
def told(dock, qtbot, monkeypatch):
    """What is notified as a failure."""
    from napari_fewshot.ui.docks import fewshot

    heard = []
    monkeypatch.setattr(fewshot, "show_error", heard.append)
    return heard


@pytest.fixture
def refused(dock, told, wait, clicks):
    """Clicks a button and expects one sentence, in the status line and as a notification, and an idle dock."""

    def expect(words: str, button: str = "fine_tune") -> None:
        told.clear()
        clicks(button)
        wait(lambda: bool(told))
        assert words in told[-1] and told[-1] in dock.status.text()
        assert dock.train.fine_tune.isEnabled() and dock.apply.apply.isEnabled()
        assert not dock._bridge.is_busy

    return expect


@pytest.fixture
def learning(dock, viewer, clicks, wait, paint, blobs):
    """Starts a fine-tuning without an end, and gives its image and strokes once a preview is there."""

    def start():
        image = viewer.add_image(blobs[0], name="blobs")
        clicks("new_strokes")
        labels = dock.data.labels_layer.layer
        paint(labels, blobs[1])
        dock.train.seconds.setValue(0)
        clicks("fine_tune")
        wait(lambda: "preview em-segment" in viewer.layers)
        return image, labels

    return start


def choose(dock, task):
    dock.data.task.setCurrentIndex(dock.data.task.findData(task))


def test_no_image_layer(refused):
    refused("There is no image layer")
    refused("There is no image layer", "new_strokes")


def test_no_image_layer_to_apply_to(dock, refused):
    choose(dock, "denoise")
    refused("There is no image layer", "apply")


def test_no_strokes_layer_then_an_empty_one_then_one_class_only(dock, viewer, refused, clicks, blobs):
    viewer.add_image(blobs[0])
    refused("press 'New strokes layer'")
    clicks("new_strokes")
    refused("Nothing is painted yet")
    labels = dock.data.labels_layer.layer
    labels.paint((80, 90), 2)
    refused("Only class 2 is painted")
    assert labels.data.any()


def test_strokes_of_another_shape(dock, viewer, refused, blobs):
    viewer.add_image(blobs[0])
    viewer.add_labels(np.ones((50, 60), np.uint8))
    assert dock.data.labels_layer.layer is not None
    refused("have shape (50, 60), the image")


def test_labels_that_are_no_classes(dock, viewer, refused, blobs):
    viewer.add_image(blobs[0])
    viewer.add_labels(np.full(blobs[0].shape, 4000, np.int32))
    refused("classes 1 to 255")


@pytest.mark.parametrize("shape", [(20, 200), (1, 1), (1, 1, 1), (1, 20, 1)])
def test_an_image_smaller_than_the_minimum(dock, viewer, refused, shape):
    viewer.add_image(np.zeros(shape, np.uint8), contrast_limits=(0, 1), rgb=False)
    refused("needs at least 32 px")
    refused("needs at least 32 px", "new_strokes")
    choose(dock, "denoise")
    refused("needs at least 32 px", "apply")


def test_a_stack_of_one_slice_is_a_picture(dock, viewer, clicks, wait, blobs):
    viewer.add_image(blobs[0][None], name="one")
    choose(dock, "denoise")
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    assert viewer.layers["one em-denoise"].data.shape == (1, 160, 192)


def test_six_axes(dock, viewer, refused):
    viewer.add_image(np.zeros((2, 2, 2, 2, 64, 64), np.uint8), contrast_limits=(0, 1))
    refused("select a part of it first")
    refused("select a part of it first", "new_strokes")


def test_a_constant_image(dock, viewer, refused):
    viewer.add_image(np.full((64, 64), 7, np.uint8), contrast_limits=(0, 9))
    viewer.add_labels(np.repeat(np.array([[1, 2]], np.uint8), 32, 1).repeat(64, 0))
    refused("constant")
    choose(dock, "denoise")
    refused("constant")


def test_an_image_without_a_finite_pixel(dock, viewer, refused):
    viewer.add_image(np.full((64, 64), np.nan, np.float32), contrast_limits=(0, 1))
    viewer.add_labels(np.repeat(np.array([[1, 2]], np.uint8), 32, 1).repeat(64, 0))
    refused("no finite pixel")
    choose(dock, "denoise")
    refused("no finite pixel", "apply")


def test_some_nan_and_infinity_do_no_harm(dock, viewer, clicks, wait, paint, blobs):
    image = blobs[0].astype(np.float32)
    image[:20, :20], image[100, 100] = np.nan, np.inf
    viewer.add_image(image, name="holes", contrast_limits=(0, 255))
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, blobs[1])
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2")
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    found = viewer.layers["holes em-segment-2"].data
    np.testing.assert_array_equal(found > 0, np.isfinite(image))


def test_a_model_without_classes_is_not_applied(dock, viewer, refused, blobs):
    viewer.add_image(blobs[0])
    refused("knows no classes yet", "apply")


def test_a_target_that_does_not_fit(dock, viewer, refused, blobs):
    source = viewer.add_image(blobs[0], name="source")
    target = viewer.add_image(blobs[0][:100], name="target")
    choose(dock, "super_resolve")
    dock.data.image_layer.layer, dock.data.target_layer.layer = source, target
    refused("'source' needs (320, 384)")


def test_an_image_is_not_its_own_target(dock, viewer, refused, blobs):
    image = viewer.add_image(blobs[0], name="source")
    choose(dock, "denoise")
    dock.data.image_layer.layer = dock.data.target_layer.layer = image
    refused("'source' is its own target")


def test_a_target_in_colours_or_elsewhere_is_refused_with_the_cure(dock, viewer, refused, blobs):
    image = viewer.add_image(blobs[0], name="source", scale=(2, 2))
    better = blobs[0] // 2
    colours = viewer.add_image(np.stack([better] * 3, -1), name="colours", rgb=True, scale=(2, 2))
    moved = viewer.add_image(better, name="moved", scale=(2, 2), translate=(40, 0))
    turned = viewer.add_image(better, name="turned", scale=(2, 2), rotate=5)
    finer = viewer.add_image(better, name="finer", scale=(0.5, 0.5))
    choose(dock, "denoise")
    for target, words in (
        (colours, "'Split RGB'"),
        (moved, "does not lie"),
        (turned, "does not lie"),
        (finer, "does not lie"),
    ):
        dock.data.image_layer.layer, dock.data.target_layer.layer = image, target
        refused(words)


def test_a_target_over_its_image_and_one_without_a_place_are_taken(viewer, blobs):
    image = viewer.add_image(blobs[0], scale=(2, 2), translate=(10, 20))
    fine = blobs[0].repeat(2, 0).repeat(2, 1)
    for place in ({"scale": (1, 1), "translate": (9.5, 19.5)}, {"scale": (1, 1), "translate": (10, 20)}, {}):
        check_target_place(viewer.add_image(fine, **place), image, 2)
    with pytest.raises(PictureError, match="does not lie"):
        check_target_place(viewer.add_image(fine, scale=(2, 2), translate=(10, 20)), image, 2)


def test_a_plane_that_cannot_be_read(dock, viewer, refused, blobs, caplog):
    def broken(block):
        raise OSError("the disk is gone")

    lazy = da.from_array(blobs[0][None].repeat(3, 0), chunks=(1, -1, -1)).map_blocks(broken, dtype=np.uint8)
    layer = viewer.add_image(np.zeros((3, 160, 192), np.uint8), contrast_limits=(0, 1))
    layer._data = lazy  # napari itself would read it on the way in
    choose(dock, "denoise")
    with caplog.at_level(logging.CRITICAL):
        refused("the disk is gone", "apply")
        refused("the disk is gone")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"cut"), "do not match their card"),
        (lambda f: (f / "model.safetensors").unlink(), "lacks model.safetensors"),
        (lambda f: (f / "card.json").write_text("{"), "not a readable model card"),
        (lambda f: (f / "card.json").write_text((f / "card.json").read_text().replace('"format": 1', '"format": 99')), "update napari-fewshot"),
    ],
    ids=["truncated", "no weights", "foreign card", "newer card"],
)  # fmt: skip
def test_a_damaged_model(dock, viewer, refused, blobs, damage, words):
    viewer.add_image(blobs[0])
    shelf = Shelf()
    card = shelf.add(shelf.read("em-denoise"))
    dock.data.choose_model(card)
    assert dock.data.model_name == card.name
    damage(shelf.folder_of(card.name))
    refused(words, "apply")
    refused(words)


def test_a_version_that_cannot_be_saved_stays_usable(dock, viewer, clicks, told, wait, home, paint, blobs):
    (home / "models").write_text("in the way")
    viewer.add_image(blobs[0], name="blobs")
    clicks("new_strokes")
    paint(dock.data.labels_layer.layer, blobs[1])
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: bool(told))
    assert "stays usable" in told[-1] and dock.data.model_name == "em-segment-2"
    clicks("apply")
    wait(lambda: "blobs em-segment-2" in viewer.layers and not dock._apply_desk.is_running)
    (home / "models").unlink()
    dock._tabs.setCurrentIndex(1)
    dock.versions.select("em-segment-2")
    clicks("save_version")
    assert Shelf().read("em-segment-2").card.classes


@pytest.mark.parametrize("victim", ["image", "labels", "both", "preview"])
def test_layers_deleted_while_training(dock, viewer, clicks, wait, learning, victim):
    image, labels = learning()
    doomed = {
        "image": [image],
        "labels": [labels],
        "both": [image, labels],
        "preview": [viewer.layers["preview em-segment"]],
    }
    for layer in doomed[victim]:
        viewer.layers.remove(layer)
    n = dock.train.plot.n_points
    wait(lambda: dock.train.plot.n_points >= n + 1)
    assert victim != "preview" or "preview em-segment" not in viewer.layers
    clicks("stop")
    wait(lambda: Shelf().folder_of("em-segment-2").is_dir() if (Shelf().root / "em-segment-2").exists() else False)
    wait(lambda: not dock._bridge.is_busy)


def test_the_task_changed_and_layers_renamed_while_training(dock, viewer, clicks, wait, learning):
    image, labels = learning()
    choose(dock, "denoise")
    image.name, labels.name = "renamed", "also renamed"
    viewer.layers.reverse()
    assert dock.data.image_layer.layer is image and dock.data.labels_layer.layer is labels
    assert dock.data.image_layer.currentText() == "renamed"
    n = dock.train.plot.n_points
    wait(lambda: dock.train.plot.n_points > n)
    clicks("stop")
    wait(lambda: (Shelf().root / "em-segment-2").exists() and not dock._bridge.is_busy)
    assert dock.data.task_name == "denoise" and dock.data.model_name == "em-denoise"


def test_layers_deleted_while_applying(dock, viewer, clicks, wait, blobs):
    source = viewer.add_image(np.stack([blobs[0]] * 12), name="stack", scale=(3, 0.5, 0.5))
    choose(dock, "denoise")
    clicks("apply")
    wait(lambda: "stack em-denoise" in viewer.layers)
    viewer.layers.remove(source)
    wait(lambda: not dock._apply_desk.is_running)
    result = viewer.layers["stack em-denoise"]
    assert result.data.any(axis=(1, 2)).all()
    np.testing.assert_allclose(result.scale, (3, 0.5, 0.5))


def test_a_result_removed_while_applying_stops_it(dock, viewer, clicks, wait, blobs):
    viewer.add_image(np.stack([blobs[0]] * 40), name="stack")
    choose(dock, "denoise")
    clicks("apply")
    wait(lambda: "stack em-denoise" in viewer.layers)
    viewer.layers.remove("stack em-denoise")
    wait(lambda: not dock._apply_desk.is_running)
    assert "stack em-denoise" not in viewer.layers
    assert dock.status.text().lower() == "stopped: the result layer was removed"


def test_what_is_done_of_other_images_stays_when_a_result_is_removed(dock, viewer, clicks, wait, blobs):
    viewer.add_image(blobs[0], name="one")
    viewer.add_image(np.stack([blobs[0]] * 40), name="stack")
    choose(dock, "denoise")
    dock.apply.scope.setCurrentIndex(dock.apply.scope.findData("all"))
    clicks("apply")
    wait(lambda: any(x.name.startswith("stack em") for x in viewer.layers))
    viewer.layers.remove(next(x for x in viewer.layers if x.name.startswith("stack em")))
    wait(lambda: not dock._apply_desk.is_running)
    text = dock.status.text().lower()
    assert text == "stopped: the result layer was removed; 1 of 41 planes are done and stay"


def test_a_full_disk_is_named_when_the_apply_has_ended(dock, viewer, clicks, told, wait, blobs, monkeypatch):
    def refuse(self, index, values):
        raise StorageError("the temporary folder is full")

    monkeypatch.setattr(ResultStack, "write", refuse)
    viewer.add_image(np.stack([blobs[0]] * 5), name="stack")
    choose(dock, "denoise")
    clicks("apply")
    wait(lambda: not dock._bridge.is_busy and bool(told))
    assert len(told) == 1 and "temporary folder is full" in told[0] and "stay" not in told[0]


def test_stop_of_what_has_nothing_to_keep_is_told(dock, viewer, clicks, wait, blobs):
    viewer.add_image(blobs[0], name="one")
    choose(dock, "denoise")
    for asked in ("show_alternatives", "live"):
        clicks(asked)
        clicks("stop")
        wait(lambda: not dock._bridge.is_busy)
        assert dock.status.text() == "Stopped"


def test_a_killed_worker_ends_the_job_and_the_next_click_works(dock, clicks, told, wait, learning, caplog):
    with caplog.at_level(logging.CRITICAL):
        learning()
        dock._bridge.compute().kill_worker()
        wait(lambda: bool(told))
    assert "worker process died" in told[-1] and dock.data.labels_layer.layer.data.any()
    dock.train.seconds.setValue(1)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2")
