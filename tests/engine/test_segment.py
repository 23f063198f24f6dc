"""The more is painted, the less a head keeps to what it knew before; where nothing is painted it learns from its likely answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget, View
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.engine.calibrate import pixels_around
from napari_fewshot.engine.fine_tune import TOO_FEW, fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.classes import N_FEATURES, ClassesHead
from napari_fewshot.engine.painted import STRENGTHS, TILE_PX, FeatureCache, sample, strength_of
from napari_fewshot.engine.segment import OnStrokes
from napari_fewshot.engine.tiled import SMALLEST_TILE_PX
from tests.engine.noting import Noting


def test_the_more_strokes_the_weaker_the_ridge_and_two_a_class_are_what_it_was_learned_for() -> None:
    truth = np.repeat([[1, 2]], 256, 0).repeat(256, 1)
    image = np.zeros(truth.shape, np.uint8)
    found = [strength_of(painting_of([image], [simulate_strokes(truth, n, 0)])) for n in (1, 2, 3, 6, 15)]
    assert found == sorted(found, reverse=True) and 0.7 < found[1] < 1.7
    assert STRENGTHS[0] < found[-1] < 0.3


def test_a_longer_and_a_wider_stroke_count_as_far_as_they_reach() -> None:
    image, strokes = np.zeros((256, 256), np.uint8), np.zeros((256, 256), np.uint8)
    strokes[10, 10:150], strokes[100, 10:150] = 1, 2
    thin = strength_of(painting_of([image], [strokes]))
    wide, far = strokes.copy(), strokes.copy()
    wide[10:16, 10:150] = 1
    far[10, 10:250] = 1
    assert strength_of(painting_of([image], [wide])) == thin > strength_of(painting_of([image], [far]))
    assert strength_of(painting_of([image] * 2, [strokes, strokes])) == pytest.approx(thin / 2)


def test_a_head_learns_from_its_likely_answers_where_nothing_is_painted() -> None:
    torch.manual_seed(0)
    kinds = torch.arange(2000) % 2
    around = torch.randn(2000, 6 + N_FEATURES)
    around[:, 0] += 4.0 * kinds  # two clouds along one axis
    x, y = around[:8], kinds[:8]
    head = ClassesHead(6)
    alone, together = (head.solve(x, y, 2, around=a) for a in (None, head.survey(around)))
    right = [float((head.at(around, s).argmax(1) == kinds).float().mean()) for s in (alone, together)]
    assert right[1] > right[0] + 0.01


def test_a_refit_sees_planes_again_only_where_something_was_painted(
    segmenter: Generator, superalloy: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, truth = superalloy
    images = [np.rot90(image, k).copy() for k in range(4)]
    strokes = [simulate_strokes(np.rot90(truth, k), 8, k) for k in range(4)]
    network, looked = segmenter.network, []
    cache = FeatureCache(limit_bytes=1)  # the maps of one tile at a time
    look = type(network).look
    monkeypatch.setattr(type(network), "look", lambda *args: looked.append(1) or look(*args))
    before = painting_of(images, strokes)
    sample(network, before, cache, 0), pixels_around(network, before, cache, 0)
    looked.clear()
    strokes[2][200:203, 40:90] = 1
    after = painting_of(images, strokes)
    sample(network, after, cache, 0), pixels_around(network, after, cache, 0)
    assert len(looked) == 1
    alone = sample(network, after, FeatureCache(), 0)
    torch.testing.assert_close(sample(network, after, cache, 0).x, alone.x)


def test_with_too_few_strokes_to_judge_the_layers_stay_and_it_is_said(segmenter: Generator) -> None:
    image = np.random.default_rng(0).normal(100, 10, (96, 128))
    image[:, 64:] += 60
    strokes = np.zeros(image.shape, np.uint8)
    strokes[40:43, 20:23], strokes[40:43, 100:103] = 1, 2  # a dot of each
    said = Noting()
    tuned = fine_tune_segment(segmenter, painting_of([image], [strokes]), Budget(steps=11), listener=said)
    for ours, theirs in zip(tuned.network.backbone.parameters(), segmenter.network.backbone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert TOO_FEW in said.notes and tuned.card.scores == {}


def test_tiles_that_had_to_shrink_never_vanish_and_are_large_again_for_the_next_call(
    segmenter: Generator, superalloy: tuple[np.ndarray, np.ndarray]
) -> None:
    cache = FeatureCache()
    while cache.shrink():
        pass
    assert not cache.shrink() and cache.tile_px == SMALLEST_TILE_PX
    painting = painting_of([superalloy[0]], [simulate_strokes(superalloy[1], 4, 0)])
    fine_tune_segment(segmenter, painting, Budget(steps=0), cache=cache)
    assert cache.tile_px == TILE_PX


def test_the_preview_of_a_plane_without_a_finite_pixel_is_empty(
    segmenter: Generator, superalloy: tuple[np.ndarray, np.ndarray]
) -> None:
    image, truth = superalloy
    painting = painting_of([image], [simulate_strokes(truth, 4, 0)])
    objective = OnStrokes(copy.deepcopy(segmenter.network), painting, 0, FeatureCache())
    nothing = View((1,), (0, 0), np.full((64, 96), np.nan, np.float32), Intensity(0.0, 1.0), "nothing", confidence=True)
    values, _, sure = objective.segment_view(objective.module, nothing, objective.solve(objective.module))
    assert not values.any() and sure is not None and not sure.any()
