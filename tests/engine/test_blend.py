"""A blend of zooms is never far from the best of them, changes nothing where it cannot help, and knows no tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import napari_fewshot as nf
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine.blend import N_BANDS, N_OTHERS, Blend
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.restorer import Restorer
from napari_fewshot.engine.tiled import run


@pytest.fixture(scope="module")
def denoiser() -> Generator:
    return nf.load("em-denoise")


def scene(std: float, smooth_px: float) -> tuple[np.ndarray, np.ndarray]:
    """A (256, 256) plane of blobs so wide, and the same with white noise; of 0.2 to 0.8 without it."""
    rng = np.random.default_rng(0)
    clean = gaussian_filter(rng.normal(size=(256, 256)), smooth_px)
    clean = (0.5 + 0.12 * clean / clean.std()).astype(np.float32)
    return clean, (clean + rng.normal(0, std, clean.shape)).astype(np.float32)


def error(answer: np.ndarray, clean: np.ndarray) -> float:
    return float(np.sqrt(np.mean((answer - clean) ** 2)))


@pytest.mark.parametrize(("std", "smooth_px"), [(0.3, 12.0), (0.1, 4.0), (0.03, 2.0)])
def test_a_blend_is_closer_to_the_truth_than_the_network_alone(
    denoiser: Generator, std: float, smooth_px: float
) -> None:
    clean, noisy = scene(std, smooth_px)
    same = Intensity(0.0, 1.0)
    alone = run(denoiser, same.to_unit(noisy))[0].numpy()
    blended = Restorer(denoiser, noisy, same).whole()
    assert error(blended, clean) < error(alone, clean)


def test_noise_that_was_simulated_with_the_same_seed_does_not_mislead_a_blend(denoiser: Generator) -> None:
    clean, _ = scene(0.0, 12.0)
    noisy, same = clean + Noise(0.0, 0.01).draw(clean, np.random.default_rng(0)), Intensity(0.0, 1.0)
    assert error(Restorer(denoiser, noisy, same).whole(), clean) < error(
        run(denoiser, same.to_unit(noisy))[0].numpy(), clean
    )


def test_without_noise_nothing_is_smoothed(denoiser: Generator) -> None:
    clean, _ = scene(0.0, 3.0)
    assert error(Restorer(denoiser, clean, Intensity(0.0, 1.0)).whole(), clean) < 0.01


def test_a_blend_that_adds_nothing_is_the_network(denoiser: Generator) -> None:
    _, noisy = scene(0.1, 4.0)
    none = Blend(np.zeros((N_OTHERS, N_BANDS)))
    assert torch.allclose(run(denoiser, noisy, None, none), run(denoiser, noisy), atol=1e-5)


def test_tiles_do_not_show(denoiser: Generator) -> None:
    _, noisy = scene(0.2, 6.0)
    one, many = (Restorer(denoiser, noisy, Intensity(0.0, 1.0), tile_px=side).whole() for side in (256, 64))
    assert np.abs(one - many).max() < 1e-3


def test_only_denoising_is_blended() -> None:
    _, noisy = scene(0.1, 4.0)
    same = Intensity(0.0, 1.0)
    assert Restorer(nf.load("em-background"), noisy, same).blend is None
    assert Restorer(nf.load("em-denoise"), noisy[:40, :40], same).blend is None


def test_noise_is_as_strong_as_what_was_taken_away() -> None:
    _, noisy = scene(0.1, 1.0)  # so fine that structure counts as noise
    noise = Noise.measure(noisy)
    again = noise.as_strong_as(noisy - gaussian_filter(noisy, 1.0), gaussian_filter(noisy, 1.0))
    assert noise.std_at(0.5) > 0.1 and again.std_at(0.5) < noise.std_at(0.5)
