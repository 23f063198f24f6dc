import numpy as np
import pytest

from napari_fewshot.core.errors import StrokesError
from napari_fewshot.core.strokes import Strokes, painting_of, thinned_strokes


def test_only_painted_pixels_and_painted_planes_are_kept(disc):
    image, _ = disc
    painted = np.zeros(image.shape, np.int32)
    painted[3, 5], painted[7, 9] = 1, 2
    painting = painting_of([image, image], [np.zeros_like(painted), painted])
    assert painting.n_painted == 2 and painting.classes == (1, 2)
    (plane,) = painting.planes
    assert plane.strokes.yx.tolist() == [[3, 5], [7, 9]]
    painting.check()


def test_strokes_move_with_their_origin():
    labels = np.zeros((10, 10), np.uint8)
    labels[4, 6] = 3
    assert Strokes.of_plane(labels).shifted(4, 5).yx.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("painted", "message"),
    [
        (np.zeros((96, 128), int), "nothing is painted"),
        (np.ones((96, 128), int), "only class 1 is painted"),
        (np.ones((9, 9), int), r"have shape \(9, 9\)"),
        (np.ones((96, 128), float), "use integers"),
        (-np.ones((96, 128), int), "negative"),
    ],
)
def test_strokes_that_teach_nothing_are_refused_with_a_cure(disc, painted, message):
    with pytest.raises(StrokesError, match=message):
        painting_of([disc[0]], [painted]).check()


def test_a_constant_image_is_refused():
    painted = np.zeros((40, 40), int)
    painted[0], painted[1] = 1, 2
    with pytest.raises(StrokesError, match="constant"):
        painting_of([np.ones((40, 40))], [painted]).check()


def test_thinned_strokes_are_as_many_of_each_class_and_keep_away_from_outlines() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 10:50], labels[20:40, 20:40], labels[60, 10:50] = 1, 2, 3
    strokes = thinned_strokes(labels, 50, np.random.default_rng(0))
    assert [np.sum(strokes.classes == k) for k in (1, 2, 3)] == [50, 50, 40]  # a line has no inside
    np.testing.assert_array_equal(labels[tuple(strokes.yx.T)], strokes.classes)
    of_object = strokes.yx[strokes.classes == 2]
    assert of_object.min() >= 22 and of_object.max() < 38
    assert not len(thinned_strokes(np.zeros((8, 8), np.uint8), 50, np.random.default_rng(0)))
