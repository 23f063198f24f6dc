"""Objects of a series are measured under their ids, in memory that does not grow with the series."""

import tracemalloc

import numpy as np
import pytest

from napari_fewshot.core.joiner import Joiner
from napari_fewshot.core.picture import Picture


@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
def test_memory_does_not_grow_with_a_time_series(axes):
    plane = np.zeros((256, 256), np.int32)
    plane[10:30, 10:30] = 1
    shape = (40, *([2] * axes.count("Z")), 256, 256)
    picture = Picture(np.broadcast_to(plane, shape), axes, "series")
    joiner = Joiner(picture)
    tracemalloc.start()
    for index in picture.plane_indices():
        ids = joiner.join(index, plane, plane)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * plane.nbytes
    assert ids.max() == 40 and len(joiner.measures.table()["index"]) == 40


def test_objects_of_interleaved_channels_go_on_along_z():
    planes = np.zeros((3, 2, 40, 40), np.int32)
    planes[:, 0, 5:15, 5:15] = 1
    planes[:, 1, 20:30, 20:30] = 1
    picture = Picture(planes, "ZCYX", "two channels")
    joiner = Joiner(picture)
    ids = np.stack([joiner.join(index, planes[index], planes[index]) for index in picture.plane_indices()])
    assert [len(np.unique(plane)) for plane in ids] == [2] * 6
    assert set(np.unique(ids)) == {0, 1, 2}
