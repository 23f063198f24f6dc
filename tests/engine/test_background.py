"""Noise and background are taken away by the denoiser and a remover that looks from afar, also when it is fine-tuned."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.card import WITH_TARGETS
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.core.shelf import Shelf, read_model
from napari_fewshot.engine import background
from napari_fewshot.engine.background import Contrast, denoiser
from napari_fewshot.engine.fine_tune import fine_tune_restore
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.restoration import restore_plane
from napari_fewshot.engine.restorer import Restorer


@pytest.fixture(scope="module")
def remover() -> Generator:
    return Generator.from_file(Shelf().read("em-background"))


@pytest.fixture(scope="module")
def uneven() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bright grains on an uneven background with noise, the grains alone, and the background; (200, 228) float32."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:200, :228]
    grains = np.zeros(y.shape)
    for _ in range(40):
        cy, cx, r = rng.uniform(0, 200), rng.uniform(0, 228), rng.uniform(4, 9)
        grains[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = 60
    grains = gaussian_filter(grains, 0.8)
    background = 40 * np.sin(x / 70) * np.cos(y / 60) + 0.1 * y
    noisy = 80 + grains + background + rng.normal(0, 12, y.shape)
    return noisy.astype(np.float32), grains, background


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference, but for the level."""
    return float(np.std(found - wanted))


def test_what_is_left_is_closer_to_the_truth_than_the_network_alone(
    remover: Generator, uneven: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    noisy, grains, background = uneven
    restored = restore_plane(remover, noisy, Restoring(background=True))
    intensity = Intensity.measure(noisy)
    alone = intensity.low + intensity.span * Restorer(remover, noisy, intensity, alone=True).whole()
    assert error(restored.values, grains) < min(error(alone, grains), 0.6 * error(noisy, grains))
    assert error(restored.maps["background"], background) < 0.7 * background.std()
    whole = restored.values + restored.maps["background"] + restored.maps["residual"]
    np.testing.assert_allclose(whole, noisy, atol=1e-2)


def test_a_larger_remover_has_the_larger_denoiser_and_loads_no_other(
    remover: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, read = Generator.from_file(Shelf().read("em-background-base")), []
    background._embedded.cache_clear()
    monkeypatch.setattr(background, "read_model", lambda folder: read.append(folder.name) or read_model(folder))
    assert denoiser(large).card.name == "em-denoise-base" and read == ["em-denoise-base"]
    assert denoiser(remover).card.name == "em-denoise"


def test_what_goes_with_the_contrast_of_a_lattice_is_specimen(remover: Generator) -> None:
    """A crystal that gets thicker is brighter, and so is its lattice; dirt on it is brighter alone."""
    rng, (y, x) = np.random.default_rng(2), np.mgrid[:256, :256]
    lattice = (1 + np.cos(x * 2 * np.pi / 9)) * (1 + np.cos(y * 2 * np.pi / 9)) / 4
    crystal = 150 * (0.2 + 0.8 * x / 256) * (0.4 + lattice)
    dirt = 40 * np.exp(-((x - 90) ** 2 + (y - 150) ** 2) / 2 / 40**2)
    noisy = (40 + crystal + dirt + rng.normal(0, 15, crystal.shape)).astype(np.float32)
    intensity = Intensity.measure(noisy)
    kept, taken = (intensity.span * Restorer(remover, noisy, intensity, specimen=s).whole() for s in (None, 0.0))
    assert error(kept, crystal) < 0.8 * error(taken, crystal)


def test_a_plane_without_contrast_has_no_specimen_in_its_background() -> None:
    shared = Contrast()
    shared.add(np.random.default_rng(0).random((64, 64)), np.full((64, 64), 0.1))
    assert shared.slope == 0 and Contrast().slope == 0


def test_a_small_plane_is_answered_by_the_network_alone(
    remover: Generator, uneven: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    plane = uneven[0][:100, :100]
    intensity = Intensity.measure(plane)
    alone = Restorer(remover, plane, intensity, alone=True).whole()
    np.testing.assert_array_equal(Restorer(remover, plane, intensity).whole(), alone)


def test_a_remover_fine_tuned_to_a_target_is_better_than_before_on_rows_it_was_not_shown(
    remover: Generator, uneven: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    noisy, grains, _ = uneven
    tuned = fine_tune_restore(remover, [(noisy, grains)], Budget(steps=20))
    before, after = (error(restore_plane(g, noisy).values[150:], grains[150:]) for g in (remover, tuned))
    assert tuned.card.data == WITH_TARGETS and after < before


def test_a_remover_that_learned_nothing_of_a_target_answers_as_before(
    remover: Generator, uneven: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    noisy, grains, _ = uneven
    tuned = fine_tune_restore(remover, [(noisy, grains)], Budget(steps=0))
    assert tuned.card.data == remover.card.data and tuned.card.spectrum == remover.card.spectrum
    np.testing.assert_array_equal(restore_plane(tuned, noisy).values, restore_plane(remover, noisy).values)
