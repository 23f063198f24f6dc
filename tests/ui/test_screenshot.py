"""What the user sees is where the truth is: the pixels of the result layer on screen, under a rotated, scaled source."""

import numpy as np


def test_the_pixels_on_screen_lie_where_the_truth_is(dock, viewer, clicks, wait, paint, blobs, qtbot):
    image, truth = blobs
    source = viewer.add_image(image, name="blobs", scale=(2.0, 1.5), rotate=25, translate=(30, -20))
    clicks("new_strokes")
    labels = dock.data.labels_layer.layer
    paint(labels, truth, n=8)
    dock.train.seconds.setValue(2)
    clicks("fine_tune")
    wait(lambda: dock.data.model_name == "em-segment-2")
    clicks("apply")
    wait(lambda: not dock._apply_desk.is_running)
    result = viewer.layers["blobs em-segment-2"]
    result.opacity = 1
    for layer in viewer.layers:
        layer.visible = layer is result
    viewer.reset_view()
    qtbot.wait(200)
    seen = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    camera = getattr(viewer, "scene", viewer).camera
    middle = np.array(seen.shape[:2]) / 2
    colours = np.array([np.array(result.get_color(k)[:3]) * 255 for k in (1, 2)])
    rng, right = np.random.default_rng(0), []
    for y, x in rng.uniform((4, 4), (156, 188), (400, 2)):
        if len(np.unique(truth[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4])) > 1:
            continue  # borders are the model's business, not the screen's
        at = (np.array(source.data_to_world((y, x))) - camera.center[-2:]) * camera.zoom + middle
        row, column = np.rint(at).astype(int)
        nearest = np.abs(colours - seen[row, column]).sum(1).argmin() + 1
        right.append(nearest == truth[round(y), round(x)])
    assert len(right) > 100 and np.mean(right) > 0.97
