"""The classic model works in the dock like any other: fine-tuned, live, going on after a stroke."""

import numpy as np


def test_the_classic_model_can_be_fine_tuned_and_used_live(dock, viewer, clicks, wait, paint, blobs):
    viewer.add_image(blobs[0], name="blobs")
    clicks("new_strokes")
    labels = dock.data.labels_layer.layer
    dock.data.model.setCurrentIndex(dock.data.model.findData("classic"))
    paint(labels, blobs[1])
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "classic-2" and not dock._bridge.is_busy)
    assert "preview classic" in viewer.layers and "saved as classic-2" in dock.status.text().lower()
    previews = []
    dock._trainer.live.refitted.connect(lambda: previews.append(1))
    clicks("live")
    wait(lambda: len(previews) == 1)
    paint(labels, blobs[1], seed=1)
    wait(lambda: len(previews) >= 2 and dock._trainer.live.model is not None)
    clicks("live")
    wait(lambda: dock.data.model_name == "classic-3" and not dock._bridge.is_busy)
    card = dock._bridge.models.card("classic-3")
    assert card.parent == dock._bridge.models.card("classic-2").id and card.net["n_trees"] == 100
    assert np.isfinite(list(card.scores.values())).all()
