"""Ids go on from slice to slice whatever the order, and objects of two series are never one."""

import numpy as np
import pytest

from napari_fewshot.core.objects import Linker, along_z, painted_objects
from napari_fewshot.core.picture import picture_of


def disc(y, x, r=6, shape=(40, 60)):
    return np.hypot(*(np.indices(shape) - np.array([y, x])[:, None, None])) < r


def outlines(*masks):
    found = np.zeros((40, 60), np.int32)
    for n, mask in enumerate(masks, 1):
        found[mask] = n
    return found


def linked(slices, order=None):
    linker = Linker()
    order = range(len(slices)) if order is None else order
    return {z: linker.link(z, slices[z])[slices[z]] for z in order}


@pytest.mark.parametrize("order", [None, [2, 3, 4, 1, 0], [4, 3, 2, 1, 0]])
def test_two_drifting_objects_keep_their_ids_through_the_stack(order):
    slices = [
        outlines(*(disc(20, x) for x in ((12 + 2 * z, 44 - 2 * z) if z % 2 else (44 - 2 * z, 12 + 2 * z))))
        for z in range(5)
    ]
    found = linked(slices, order)
    left = {z: int(found[z][20, 12 + 2 * z]) for z in range(5)}
    right = {z: int(found[z][20, 44 - 2 * z]) for z in range(5)}
    assert len(set(left.values())) == len(set(right.values())) == 1 and left[0] != right[0]
    assert all(set(np.unique(f)) == {0, left[0], right[0]} for f in found.values())


def test_what_is_missing_in_one_slice_goes_on_in_the_next():
    both, one = outlines(disc(20, 12), disc(20, 44)), outlines(disc(20, 44))
    found = linked([both, one, both])
    assert np.array_equal(found[0], found[2])
    gone = linked([both, one, one, both])
    assert gone[3][20, 12] not in np.unique(gone[0]) and gone[3][20, 44] == gone[0][20, 44]


def test_a_slice_that_is_left_out_does_not_break_the_ids():
    one = outlines(disc(20, 30))
    assert np.array_equal(*linked([one, one, one], [0, 2]).values())
    first, last = linked([one] * 4, [0, 3]).values()
    assert first.max() != last.max()


def test_one_object_is_never_two_in_a_slice():
    whole, halves = outlines(disc(20, 30, 12)), outlines(disc(20, 24, 5), disc(20, 36, 5))
    found = linked([whole, halves])
    assert len(np.unique(found[1])) == 3 and found[0].max() in np.unique(found[1])


def test_objects_that_hardly_overlap_are_two():
    found = linked([outlines(disc(20, 20)), outlines(disc(20, 30))])
    assert found[0].max() != found[1].max()


def test_objects_of_two_time_points_are_two():
    linker, one = Linker(), outlines(disc(20, 30))
    assert linker.link(0, one, (0,))[1] != linker.link(0, one, (1,))[1]
    assert linker.link(1, one, (0,))[1] == 1


def test_planes_come_up_and_down_from_where_the_user_is():
    stack = picture_of(np.zeros((5, 8, 8)))
    assert along_z(stack, (2,)) == ((2,), (3,), (4,), (1,), (0,))
    film = picture_of(np.zeros((2, 3, 8, 8)))
    assert along_z(film, (1, 1)) == ((1, 1), (1, 2), (1, 0), (0, 0), (0, 1), (0, 2))
    assert along_z(picture_of(np.zeros((8, 8))), ()) == ((),)


def test_an_empty_slice_has_no_ids():
    assert Linker().link(0, np.zeros((5, 5), np.int32)).tolist() == [0]


def test_painted_objects_are_background_and_object():
    labels = np.zeros((40, 60), np.int32)
    labels[:4], labels[disc(20, 12)], labels[disc(20, 44)] = 1, 2, 70_000
    classes = painted_objects(labels)
    assert np.unique(classes).tolist() == [0, 1, 2] and np.array_equal(classes > 0, labels > 0)
    assert (classes[labels > 1] == 2).all()
