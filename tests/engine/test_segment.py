"""How strong the ridge of a head is, is chosen on strokes held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.painted import Samples
from napari_fewshot.engine.segment import STRENGTHS, choose_strength


def samples_of(learned: np.ndarray, y: np.ndarray) -> Samples:
    """Strokes of eight pixels each, dealt to four folds."""
    return Samples(torch.from_numpy(learned).float(), torch.from_numpy(y), torch.arange(len(y)) // 8 % 4)


def test_a_head_keeps_the_learned_ridge_where_another_is_no_better() -> None:
    y = np.arange(256) % 2
    learned = np.column_stack([y, np.random.default_rng(0).normal(0, 0.01, 256)])
    assert choose_strength(ClassesHead(2), samples_of(learned, y), 2)[0] == STRENGTHS[0]


def test_a_head_takes_a_weaker_ridge_where_what_tells_the_classes_apart_is_faint() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(512) % 2
    learned = np.column_stack([0.06 * y + rng.normal(0, 0.01, 512), rng.normal(0, 1, (512, 4))])
    head = ClassesHead(5)
    assert choose_strength(head, samples_of(learned, y), 2)[0] == min(STRENGTHS)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_head_keeps_the_learned_ridge_where_too_little_is_painted_to_judge(n_classes: int) -> None:
    y = np.arange(n_classes)
    assert choose_strength(ClassesHead(2), samples_of(np.eye(n_classes, 2), y), n_classes)[0] == STRENGTHS[0]
