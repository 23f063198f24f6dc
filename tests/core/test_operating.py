"""The operating point finds the wished share of a class, tells what that costs, and never makes a model miss more."""

import numpy as np
import pytest

from napari_fewshot.core.errors import StrokesError
from napari_fewshot.core.judge import HeldOut
from napari_fewshot.core.operating import NeverMiss, operating_point


def scores(n_rare, n_common, gap, seed=0):
    """Two classes whose margins are normal, ``gap`` apart, most of the rare one on the wrong side."""
    rng = np.random.default_rng(seed)
    margin = np.r_[rng.normal(gap - 1.5, 1, n_rare), rng.normal(-1.5, 1, n_common)]
    truth = np.r_[np.full(n_rare, 2), np.full(n_common, 1)]
    return HeldOut((1, 2), truth, np.column_stack([np.zeros(len(margin)), margin]).astype(np.float32))


def found_share(held_out, offset, k):
    answer = (held_out.scores + np.array([0.0, offset], np.float32)).argmax(1) + 1
    return np.mean(answer[held_out.truth == k] == 2)


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.99, 1.0])
def test_the_wished_share_is_found_also_on_other_pixels(recall):
    judged, others = scores(400, 4000, gap=1.0), scores(4000, 4000, gap=1.0, seed=1)
    point = operating_point(judged, NeverMiss(2, recall))
    assert found_share(judged, point.offset, 2) >= min(recall, 1 - 1e-6)
    assert found_share(others, point.offset, 2) >= recall - 0.03
    assert point.false_alarms == pytest.approx(found_share(others, point.offset, 1), abs=0.03)


def test_more_recall_costs_more_false_alarms():
    points = [operating_point(scores(300, 3000, 1.0), NeverMiss(2, r)) for r in (0.5, 0.8, 0.95, 1.0)]
    assert sorted(p.offset for p in points) == [p.offset for p in points]
    assert sorted(p.false_alarms for p in points) == [p.false_alarms for p in points]


def test_a_class_that_is_found_anyway_is_left_as_it_is():
    point = operating_point(scores(300, 3000, gap=9.0), NeverMiss(2, 0.9))
    assert point.offset == 0 and point.false_alarms < 0.1
    assert point.offsets((1, 2, 5)).tolist() == [0, 0, 0] and point.wish == NeverMiss(2, 0.9)


@pytest.mark.parametrize("wish", [NeverMiss(3, 0.9), NeverMiss(2, 0.0), NeverMiss(2, 1.1)])
def test_a_class_nobody_painted_or_no_share_has_no_operating_point(wish):
    with pytest.raises(
        StrokesError, match=r"no operating point.*choose one of the classes \(1, 2\), and a share above 0"
    ):
        operating_point(scores(10, 10, 1.0), wish)
