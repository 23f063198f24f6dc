from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fewshot.engine import edges
from napari_fewshot.engine.edges import classes_of, probability_of


def scene(side: tuple[int, int] = (95, 130)) -> tuple[np.ndarray, np.ndarray]:
    """A bright disk and a line 2 px wide, (Y, X) float32 on the unit scale, and their class, (Y, X)."""
    y, x = np.indices(side)
    truth = ((y - 40) ** 2 + (x - 45) ** 2 < 25**2) | (np.abs(x - 110) < 1)
    noise = np.random.default_rng(0).normal(0, 0.03, side)
    return (0.3 + 0.4 * truth + noise).astype(np.float32), truth.astype(int)


def unsure(truth: np.ndarray) -> torch.Tensor:
    """Logits (2, Y, X) that are right in five of six pixels."""
    right = 1.0 + np.random.default_rng(1).normal(0, 1, truth.shape)
    return torch.from_numpy(np.where(truth, right, -right)).float()[None] * torch.tensor([-0.5, 0.5])[:, None, None]


def test_errors_here_and_there_go_and_what_is_thin_stays() -> None:
    unit, truth = scene()
    logits = unsure(truth)
    found, _ = classes_of(logits, unit)
    alone = logits.argmax(0).numpy()
    assert np.mean(alone == truth) < 0.85 and np.mean(found == truth) > 0.99
    assert np.mean(found[:, 109:111] == truth[:, 109:111]) > 0.95


def test_a_border_moves_to_the_edge_of_the_image() -> None:
    unit, truth = scene()
    shifted = (
        torch.from_numpy(np.roll(truth, 2, 1) * 2.0 - 1.0).float()[None] * torch.tensor([-1.0, 1.0])[:, None, None]
    )
    found, _ = classes_of(shifted, unit)
    disk = np.s_[10:70, 15:75]
    assert np.mean((found != truth)[disk]) < 0.5 * np.mean((np.roll(truth, 2, 1) != truth)[disk])


def test_where_nothing_is_seen_sure_answers_stay() -> None:
    logits = torch.zeros(2, 64, 64)
    logits[1, :, :32], logits[0, :, 32:] = 5.0, 5.0
    found, _ = classes_of(logits, np.full((64, 64), 0.5, np.float32))
    assert np.array_equal(found, logits.argmax(0).numpy())


def test_large_planes_are_settled_by_parts_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    unit, truth = scene((203, 301))
    whole, _ = classes_of(unsure(truth), unit)
    monkeypatch.setattr(edges, "PART_PX", 64)
    parts, _ = classes_of(unsure(truth), unit)
    assert np.array_equal(whole, parts)


def test_pixels_of_an_operating_point_are_decided_alone() -> None:
    unit, truth = scene()
    logits, offsets = unsure(truth), torch.tensor([0.0, 2.0])
    found, moved = classes_of(logits, unit, offsets)
    assert np.array_equal(found, (logits + offsets[:, None, None]).argmax(0).numpy())
    assert torch.equal(moved, logits + offsets[:, None, None])


def test_nobody_is_surer_for_having_asked_neighbours() -> None:
    unit, truth = scene()
    found, logits = classes_of(unsure(truth), unit)
    assert probability_of(found, logits).mean() < logits.softmax(0).amax(0).mean()
