"""Confusion and intersection over union of painted pixels, every class counting as if equally much were painted."""

import numpy as np
import pytest

from napari_fewshot.core.judge import Confusion, HeldOut, cross_fit, differing


def test_a_perfect_answer_has_no_confusion():
    truth = np.array([1, 1, 1, 4])
    found = Confusion.between(truth, truth, (1, 4))
    assert found.mean_iou == 1 and found.ious.tolist() == [1, 1]
    assert np.array_equal(found.shares, np.eye(2))


def test_the_iou_does_not_depend_on_how_much_of_a_class_is_painted():
    truth, answer = np.array([1] * 10 + [2] * 10), np.array([1] * 5 + [2] * 5 + [2] * 10)
    few = Confusion.between(truth, answer, (1, 2))
    many = Confusion.between(np.r_[truth, [1] * 90], np.r_[answer, [1] * 45, [2] * 45], (1, 2))
    assert few.ious.tolist() == pytest.approx([0.5, 1 / 1.5])
    np.testing.assert_allclose(few.ious, many.ious)


def test_what_is_taken_for_another_class_altogether_counts_as_wrong():
    found = Confusion.between(np.array([1, 1, 2, 2]), np.array([1, 3, 2, 2]), (1, 2))
    assert found.ious.tolist() == [0.5, 1] and found.shares.sum(1).tolist() == [0.5, 1]


def test_every_stroke_is_asked_for_once_by_who_has_not_seen_it():
    fold = np.repeat([0, 1, 2, 3], 4)
    y, x = np.tile([0, 1], 8), np.arange(16.0)[:, None]
    seen = []

    def learn(given, classes):
        def scores(asked):
            assert not set(given[:, 0]) & set(asked[:, 0])
            seen.extend(asked[:, 0])
            return np.eye(2)[(asked[:, 0] % 2).astype(int)]

        return scores

    held_out = cross_fit(x, y, fold, (3, 7), range(4), learn)
    assert sorted(seen) == list(range(16)) and held_out.confusion.mean_iou == 1
    assert set(held_out.truth) == {3, 7}


def test_without_a_class_among_the_strokes_held_out_there_is_no_score():
    y, fold = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert cross_fit(y[:, None], y, fold, (1, 2), [0], lambda x, y: lambda x: np.zeros((len(x), 2))) is None


def test_answers_differ_where_they_differ():
    assert differing(np.array([[1, 2]]), np.array([[1, 1]])).tolist() == [[0, 1]]
    assert HeldOut((1, 2), np.array([1]), np.array([[0.0, 1.0]])).confusion.mean_iou == 0
