"""Prediction is the same with and without tiles, keeps dtype and range, and can be stopped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fewshot.core.errors import ComputeError, ModelError, PictureError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.core.tiles import Box
from napari_fewshot.engine import tiled
from napari_fewshot.engine.blend import Blend
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads import classes
from napari_fewshot.engine.listen import Silent, StopRequested
from napari_fewshot.engine.predict import predict_plane

Sample = tuple[np.ndarray, np.ndarray]


@pytest.mark.parametrize("name", ["em-denoise", "em-superres-x2", "em-superres-x4", "em-background"])
def test_tiles_leave_no_trace(name: str, superalloy: Sample) -> None:
    generator = Generator.from_file(Shelf().read(name))
    image = superalloy[0][:250, :203].astype(np.float32)
    whole, _ = predict_plane(generator, image, tile_px=4096)
    tiled, _ = predict_plane(generator, image, tile_px=64)
    assert whole.shape == tuple(n * generator.card.factor for n in image.shape)
    assert np.abs(whole - tiled).max() <= 1e-3 * np.ptp(image)


def test_segmentation_is_the_same_in_tiles(segmenter: Generator, superalloy: Sample) -> None:
    image, truth = superalloy
    tuned = fine_tune_segment(segmenter, painting_of([image], [simulate_strokes(truth, 3)]), Budget(steps=0))
    whole, sure = predict_plane(tuned, image, confidence=True, tile_px=4096)
    tiled, sure_tiled = predict_plane(tuned, image, confidence=True, tile_px=64)
    assert sure is not None and sure_tiled is not None
    assert np.mean(whole != tiled) < 1e-3
    assert np.abs(sure - sure_tiled).max() < 1e-3


def test_another_exposure_is_segmented_as_well_in_one_tile_and_in_many(
    segmenter: Generator, superalloy: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, truth = superalloy
    tuned = fine_tune_segment(segmenter, painting_of([image], [simulate_strokes(truth, 6)]), Budget(steps=0))
    dark = ((image / 255.0) ** 6).astype(np.float32)  # further from the painted one than anything in training
    painted, _ = predict_plane(tuned, image)
    whole, _ = predict_plane(tuned, dark)
    tiled, _ = predict_plane(tuned, dark, tile_px=256)
    monkeypatch.setattr(classes, "UNLIKE", np.inf)
    lost, _ = predict_plane(tuned, dark)
    assert np.mean(lost == painted) < 0.75
    assert np.mean(whole == painted) > 0.8 and np.mean(tiled == painted) > 0.8


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "float16", "float32", "float64"])
def test_restoration_returns_the_dtype_and_the_level_of_its_input(
    dtype: str, denoiser: Generator, superalloy: Sample
) -> None:
    image = (superalloy[0][:96, :96].astype(np.float64) * 3 + 20).astype(dtype)
    restored, _ = predict_plane(denoiser, image)
    assert restored.dtype == (np.float32 if np.dtype(dtype).kind == "f" else np.dtype(dtype))
    assert abs(restored.mean(dtype=float) - image.mean(dtype=float)) < 0.05 * np.ptp(image.astype(float))


def test_bool_images_stay_bool(denoiser: Generator) -> None:
    assert predict_plane(denoiser, np.eye(64, dtype=bool))[0].dtype == bool


def test_a_constant_image_stays_constant(denoiser: Generator) -> None:
    restored, _ = predict_plane(denoiser, np.full((64, 64), 7, np.uint8))
    assert np.ptp(restored.astype(int)) <= 1


def test_pixels_that_are_not_finite_stay_so_and_spoil_no_others(denoiser: Generator, superalloy: Sample) -> None:
    image = superalloy[0][:96, :96].astype(np.float32)
    image[10, 10], image[20, 20] = np.nan, np.inf
    restored, _ = predict_plane(denoiser, image)
    assert np.array_equal(np.isfinite(restored), np.isfinite(image))


@pytest.mark.parametrize("name", ["em-denoise", "em-superres-x2", "em-background"])
def test_a_feature_far_brighter_than_the_rest_keeps_its_brightness(name: str) -> None:
    image = np.random.default_rng(0).normal(10, 2, (96, 96)).clip(0, 255).astype(np.uint8)
    image[40:45, 40:45] = 200
    restored, _ = predict_plane(Generator.from_file(Shelf().read(name)), image)
    assert restored.max() > 150


@pytest.mark.parametrize(
    ("image", "cure"),
    [
        (np.zeros((20, 64)), "crop less"),
        (np.full((64, 64), np.nan), "another slice"),
        (np.zeros((1, 1)), "needs at least"),
    ],
)
def test_a_plane_that_cannot_be_used_names_the_cure(image: np.ndarray, cure: str, denoiser: Generator) -> None:
    with pytest.raises(PictureError, match=cure):
        predict_plane(denoiser, image)


def test_a_segmentation_model_without_strokes_says_what_to_do(segmenter: Generator, superalloy: Sample) -> None:
    with pytest.raises(ModelError, match="paint a few strokes"):
        predict_plane(segmenter, superalloy[0])


def test_a_stop_ends_a_prediction_between_tiles(denoiser: Generator, superalloy: Sample) -> None:
    class Impatient(Silent):
        asked = 0

        def stopped(self) -> bool:
            self.asked += 1
            return self.asked > 2

    listener = Impatient()
    with pytest.raises(StopRequested):
        predict_plane(denoiser, superalloy[0], listener=listener, tile_px=64)
    assert listener.asked == 3


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "could not create a primitive"])
def test_out_of_memory_halves_the_tiles_and_says_so(
    denoiser: Generator, superalloy: Sample, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    whole, _ = predict_plane(denoiser, superalloy[0])
    real, notes = tiled.run, []

    def small_machine(generator: Generator, unit: np.ndarray, box: Box, blend: Blend | None) -> torch.Tensor:
        if box[0].stop - box[0].start > 130:
            raise RuntimeError(words)
        return real(generator, unit, box, blend)

    class Noting(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    monkeypatch.setattr(tiled, "run", small_machine)
    result, _ = predict_plane(denoiser, superalloy[0], listener=Noting())
    assert np.abs(result.astype(int) - whole).max() <= 1
    assert any("going on with tiles of" in n for n in notes)

    def no_memory(*what: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiled, "run", no_memory)
    with pytest.raises(ComputeError, match="smallest tile"):
        predict_plane(denoiser, superalloy[0])


def test_where_a_plane_is_not_finite_there_is_no_class_and_no_confidence(
    segmenter: Generator, superalloy: tuple[np.ndarray, np.ndarray]
) -> None:
    image, truth = superalloy[0].astype(np.float32), superalloy[1]
    tuned = fine_tune_segment(segmenter, painting_of([image], [simulate_strokes(truth, 3)]), Budget(steps=0))
    image[100:150, 60:120] = np.nan
    values, sure = predict_plane(tuned, image, confidence=True)
    assert (values[100:150, 60:120] == 0).all() and (sure[100:150, 60:120] == 0).all()
    assert (np.delete(values, np.s_[100:150], 0) > 0).all()
