"""Strokes on other open images are learned from, on a real worker, where the user wants that."""

import numpy as np


def test_what_is_painted_on_one_image_teaches_another_while_it_trains(dock, viewer, clicks, wait, paint, blobs):
    image, truth = blobs
    layers = {}
    for name, picture in (("a", image), ("b", np.roll(image, 30, axis=1))):
        layers[name] = viewer.add_image(picture, name=name)
        dock.data.image_layer.layer = layers[name]
        clicks("new_strokes")
    strokes = {name: viewer.layers[f"{name} strokes"] for name in layers}
    paint(strokes["a"], np.where(truth == 1, 1, 0), n=3)
    paint(strokes["b"], np.where(np.roll(truth, 30, axis=1) == 2, 2, 0), n=3)
    assert dock.data.labels_layer.layer is strokes["b"]
    clicks("fine_tune")
    wait(lambda: "Only class 2 is painted" in dock.status.text())
    dock.train.extras.other_images.setChecked(True)
    dock.train.seconds.setValue(0)
    clicks("fine_tune")
    wait(lambda: "preview em-segment" in viewer.layers)
    seen = np.roll(truth, 30, axis=1)[dock._trainer._scene.region.box]
    assert np.mean(viewer.layers["preview em-segment"].data == seen) > 0.9
    strokes["a"].brush_size = 9
    strokes["a"].paint((10, 10), 3)
    wait(lambda: dock._trainer._orders._sent.classes == (1, 2, 3))
    clicks("stop")
    wait(lambda: not dock._trainer.is_training and "saved" in dock.status.text().lower())
    card = dock._bridge.models.card(dock.data.model_name)
    assert card.painted == (1, 2, 3)
    assert card.n_painted_px == sum(np.count_nonzero(layer.data) for layer in strokes.values())
    clicks("judge")
    wait(lambda: not dock.judge.judging.is_running)
    (verdict,) = dock.judge.judging.verdicts
    assert verdict.as_saved.classes == (1, 2, 3)
    dock._tabs.setCurrentIndex(1)
    clicks("next_place")
    wait(lambda: not dock.guide.guiding.is_running)
    assert dock.guide.guiding.seen


def test_a_model_is_kept_with_all_strokes_it_was_judged_on(dock, viewer, clicks, wait, paint, blobs):
    image, truth = blobs
    layers = [viewer.add_image(image, name="a"), viewer.add_image(np.roll(image, 30, axis=1), name="b")]
    for k, layer in enumerate(layers, 1):
        dock.data.image_layer.layer = layer
        clicks("new_strokes")
        seen = truth if k == 1 else np.roll(truth, 30, axis=1)
        paint(dock.data.labels_layer.layer, np.where(seen == k, k, 0), n=6)
    dock.train.extras.other_images.setChecked(True)
    dock._tabs.setCurrentIndex(3)
    clicks("judge")
    wait(lambda: dock.judge.judging.verdicts != () and not dock._bridge.is_busy)
    viewer.layers["a strokes"].paint((10, 10), 3)  # what is painted since was not judged
    clicks("keep_0")
    wait(lambda: not dock._bridge.is_busy)
    assert dock.data.model_name == "em-segment-2"
    assert dock._bridge.models.card("em-segment-2").painted == (1, 2)
