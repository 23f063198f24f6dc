"""A guide tells where a stroke helps and hands over what it is sure of."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.guide import Look
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.guide import Guide, confident_dots, look_over
from napari_fewshot.engine.painted import FeatureCache

Sample = tuple[np.ndarray, np.ndarray]


def painted(sample: Sample) -> Painting:
    return painting_of([sample[0]], [simulate_strokes(sample[1], 3)])


def test_what_looks_like_nothing_painted_is_suggested(segmenter: Generator, superalloy: Sample) -> None:
    image = superalloy[0].copy()
    y, x = np.mgrid[:112, :112]
    image[140:252, 140:252] = 60 + 120 * ((y // 4 + x // 4) % 2)  # a texture of its own
    guide = Guide.of(segmenter, painted(superalloy), FeatureCache())
    look = Look((5,), (slice(1000, 1256), slice(0, 256)))
    seen = look_over(guide, look, image, Intensity.measure(image))
    assert seen.spots[0].index == (5,) and 0 < seen.quality < 1
    middle = [(s.start + s.stop) / 2 for s in seen.spots[0].box]
    assert middle == pytest.approx([1000 + 196, 196], abs=40)


def test_learned_dots_are_mostly_right_and_the_same_for_each_class(segmenter: Generator, disc: Sample) -> None:
    guide = Guide.of(segmenter, painted(disc), FeatureCache())
    seen = look_over(guide, Look((), (slice(0, 96), slice(0, 128))), disc[0], Intensity.measure(disc[0]), learn=True)
    assert seen.learned is not None
    y, x = seen.learned.yx.T
    assert np.mean(disc[1][y, x] == seen.learned.classes) > 0.97
    assert set(seen.learned.classes) == {1, 2}


def test_nothing_is_learned_from_what_is_not_sure() -> None:
    values = np.ones((40, 40), np.uint8)
    assert len(confident_dots(values, np.full(values.shape, 0.6, np.float32), np.random.default_rng(0))) == 0


def test_a_model_that_knows_its_classes_guides_without_strokes(segmenter: Generator, disc: Sample) -> None:
    known = Guide.of(segmenter, painted(disc), FeatureCache()).generator
    guide = Guide.of(known, None, FeatureCache())
    assert guide.generator is known and guide.answer(disc[0], Intensity.measure(disc[0])).novelty.max() == 1
    with pytest.raises(FewshotError, match="paint a few strokes"):
        Guide.of(segmenter, None, FeatureCache())


def test_a_plane_of_many_tiles_is_answered_as_one(segmenter: Generator, superalloy: Sample) -> None:
    guide = Guide.of(segmenter, painted(superalloy), FeatureCache())
    image = superalloy[0][:250, :201]
    whole = guide.answer(image, Intensity.measure(image))
    guide.cache.kept.clear()
    guide.cache.tile_px = 96
    tiled = guide.answer(image, Intensity.measure(image))
    assert np.mean(whole.values != tiled.values) < 1e-3
    np.testing.assert_allclose(whole.novelty, tiled.novelty, atol=1e-2)
    assert whole.novelty.shape == (16, 13)
