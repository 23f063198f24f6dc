"""What a network does to what it never learned is held to its input: nothing but noise may be taken away."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.guard import expected_sigmas, give_back
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.restoration import restore_plane

SAME = Intensity(0.0, 1.0)


def lattice(period_px: float, sigma_px: float, peak: float, side: int = 160) -> np.ndarray:
    """Rows of atoms along both axes, (side, side) on a level of 100."""
    at = np.arange(side)
    row = np.exp(-(((at[:, None] - np.arange(0, side, period_px)) / sigma_px) ** 2) / 2).sum(1)
    return 100 + peak * np.outer(row, row)


@pytest.mark.parametrize(("period_px", "sigma_px"), [(4.3, 1.0), (5.5, 1.2), (8.0, 1.6)])
@pytest.mark.parametrize("std", [3.0, 5.0])
def test_a_fine_lattice_is_not_worse_than_it_was_nor_beyond_its_grey_levels(
    denoiser: Generator, period_px: float, sigma_px: float, std: float
) -> None:
    clean = lattice(period_px, sigma_px, 80.0)
    noisy = (clean + np.random.default_rng(0).normal(0, std, clean.shape)).astype(np.float32)
    found = restore_plane(denoiser, noisy, Restoring(uncertainty=True))
    error = np.sqrt(np.mean((found.values - clean) ** 2))
    assert error < 1.1 * std
    assert noisy.min() - 2 * std < found.values.min() and found.values.max() < noisy.max() + 2 * std
    assert found.maps["uncertainty"].mean() < 4 * error


def test_noise_that_was_taken_away_is_not_given_back() -> None:
    noise, rng = Noise(0.0, 0.01, "scan", 0.3, lines=0.05), np.random.default_rng(0)
    clean = np.full((256, 256), 0.5, np.float32)
    answer = clean.copy()
    give_back(answer, clean + noise.draw(clean, rng), SAME, noise)
    assert np.std(answer - clean) < 0.02


def test_structure_that_was_taken_away_is_given_back_and_what_was_made_up_is_taken_away() -> None:
    noise, rng = Noise(0.0, 1e-4), np.random.default_rng(0)
    clean = (0.5 + 0.2 * np.sin(np.arange(192) / 2)[None]).repeat(192, 0).astype(np.float32)
    clean[:, 96:] = 0.5
    answer = np.full_like(clean, 0.5)  # the fringes on the left are lost,
    answer[40:60, 120:140] += 0.3  # and a spot on the right is made up
    give_back(answer, clean + noise.draw(clean, rng), SAME, noise)
    assert np.abs(answer - clean).max() < 0.1 and np.std(answer - clean) < 0.015


def test_how_much_of_noise_is_left_at_each_scale_falls_with_the_scale() -> None:
    white = expected_sigmas(Noise(0.0, 0.04), 0.5)
    assert list(white) == sorted(white, reverse=True) and 0.8 < white[0] < 1 and white[-1] < 0.05
    assert expected_sigmas(Noise(0.0, 0.04, "camera", 0.8), 0.5)[0] < white[0]
