"""What layers may learn from beside strokes: likeness in all painted images, and objects that are pasted elsewhere."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_fewshot as nf
from napari_fewshot.core.errors import StrokesError
from napari_fewshot.core.job import STROKES_ALONE, Budget, Extras
from napari_fewshot.core.operating import NeverMiss
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.engine.extras import Contrast, CopyPaste, pasted, terms_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.painted import FeatureCache
from napari_fewshot.engine.rank import Rank, rank_hinge
from napari_fewshot.engine.segment import OnStrokes, solver_of


@pytest.fixture
def painting(superalloy: tuple[np.ndarray, np.ndarray]) -> Painting:
    image, truth = superalloy
    other = np.rot90(image).copy(), np.rot90(truth).copy()
    strokes = [simulate_strokes(t, 4, seed) for seed, t in enumerate((truth, other[1]))]
    return painting_of([image, other[0]], strokes)


@pytest.fixture
def objective(segmenter: Generator, painting: Painting) -> OnStrokes:
    made = OnStrokes(copy.deepcopy(segmenter.network), painting, 0, FeatureCache())
    made.solve(made.module)
    return made


def solved(objective: OnStrokes):
    samples, solver = objective.samples.learned_from(), solver_of(objective.module)
    return solver.solve(samples.x[:, : solver.n_features], samples.y, objective.n_classes, samples.strength)


def test_nothing_is_added_unless_it_was_asked_for(objective: OnStrokes) -> None:
    assert terms_of(objective, STROKES_ALONE) == []
    kinds = [type(t) for t in terms_of(objective, Extras(contrast=True, copy_paste=True, rank=True))]
    assert kinds == [Contrast, CopyPaste, Rank]
    objective.more = terms_of(objective, Extras(contrast=True, copy_paste=True))
    found = [set(objective.losses(np.random.default_rng(seed))) for seed in range(12)]
    assert all({"strokes", "agreement", "anchor", "contrast"} <= names for names in found)
    assert any("copy-paste" in names for names in found) and any("local contrast" in names for names in found)


def test_contrast_pulls_apart_what_differs(objective: OnStrokes) -> None:
    term, head = Contrast(objective), solved(objective)

    def value() -> torch.Tensor:
        return torch.stack([term(head, np.random.default_rng(seed))["contrast"] for seed in range(4)]).mean()

    before = value()
    before.backward()
    with torch.no_grad():
        for p in objective.module.backbone.parameters():
            if p.grad is not None:
                p -= 1e-3 * p.grad / p.grad.norm().clamp(min=1e-9)
        assert value() < before


def test_an_object_is_pasted_as_bright_as_it_was_and_with_the_texture_of_the_place() -> None:
    rng = np.random.default_rng(0)
    unit = rng.normal(0.2, 0.02, (64, 80)).astype(np.float32)
    grey, mask = np.full((20, 16), 0.8, np.float32), np.zeros((20, 16), bool)
    mask[3:17, 3:13] = True
    drawn = pasted(unit, grey, mask, (30, 40))
    inside = drawn[36:44, 46:50]
    assert abs(inside.mean() - 0.8) < 0.02 and 0.5 < inside.std() / unit.std() < 1.5
    outside = np.ones(unit.shape, bool)
    outside[30:50, 40:56] = False
    np.testing.assert_array_equal(drawn[outside], unit[outside])
    assert abs(unit.mean() - 0.2) < 0.01  # the picture itself stays as it was


def test_objects_that_fill_the_crop_are_not_pasted(segmenter: Generator) -> None:
    image = np.random.default_rng(0).normal(100, 5, (96, 96)).astype(np.float32)
    image[:, 48:] += 80
    truth = np.repeat([[1] * 48 + [2] * 48], 96, 0)
    objective = OnStrokes(
        copy.deepcopy(segmenter.network), painting_of([image], [simulate_strokes(truth, 3, 0)]), 0, FeatureCache()
    )
    objective.solve(objective.module)
    term, head = CopyPaste(objective), solved(objective)
    assert all(term(head, np.random.default_rng(seed)) == {} for seed in range(4))


def test_with_extras_the_same_seed_gives_the_same_result(segmenter: Generator, painting: Painting) -> None:
    asked = Extras(contrast=True, copy_paste=True)
    tuned = [fine_tune_segment(segmenter, painting, Budget(steps=3), seed=2, extras=asked) for _ in range(2)]
    assert tuned[0].card.losses == tuned[1].card.losses
    alone = fine_tune_segment(segmenter, painting, Budget(steps=3), seed=2)
    assert alone.card.losses != tuned[0].card.losses


def test_the_rank_loss_counts_pairs_in_the_wrong_order_and_nothing_else() -> None:
    is_class = torch.tensor([True, True, False, False])
    assert rank_hinge(torch.tensor([1.0, 2.0, 0.0, -1.0]), is_class) == 0
    one_wrong = rank_hinge(torch.tensor([1.0, 2.0, 1.5, -1.0]), is_class)
    both_wrong = rank_hinge(torch.tensor([1.0, 2.0, 3.0, -1.0]), is_class)
    assert 0 < one_wrong < both_wrong


def test_the_rank_loss_moves_layers_towards_the_order(segmenter: Generator, painting: Painting) -> None:
    rng = np.random.default_rng(0)
    noisy = [p.image + rng.normal(0, 2 * p.image.std(), p.image.shape) for p in painting.planes]
    planes = tuple(replace(p, image=n.astype(np.float32)) for p, n in zip(painting.planes, noisy, strict=True))
    objective = OnStrokes(copy.deepcopy(segmenter.network), replace(painting, planes=planes), 0, FeatureCache())
    objective.solve(objective.module)
    objective.never_miss = NeverMiss(painting.classes[-1], 0.95)
    term, head = Rank(objective), solved(objective)

    def value() -> torch.Tensor:
        return torch.stack([term(head, np.random.default_rng(seed))["rank"] for seed in range(4)]).mean()

    before = value()
    before.backward()
    with torch.no_grad():
        for p in objective.module.backbone.parameters():
            p -= 0.01 * p.grad / (p.grad.norm() + 1e-9)
        assert value() < before


def test_without_a_wish_there_is_nothing_to_rank(
    objective: OnStrokes, superalloy: tuple[np.ndarray, np.ndarray]
) -> None:
    assert Rank(objective)(solved(objective), np.random.default_rng(0)) == {}
    image, truth = superalloy
    with pytest.raises(StrokesError, match="give never_miss"):
        nf.fine_tune(nf.load("em-segment"), image, simulate_strokes(truth, 4, 0), rank=True, steps=0)
