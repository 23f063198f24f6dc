"""Noise is measured on the noisy plane alone: how strong at each level, of what kind, how far it is correlated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.residual import smooth_background, structure_by_chance, structure_left


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """Discs and soft ramps, (256, 256), levels 40 to 160."""
    y, x = np.mgrid[:256, :256]
    discs = ((y % 61 - 30) ** 2 + (x % 67 - 33) ** 2) < 21**2
    return gaussian_filter(60.0 + 80 * discs, 1.0) + 0.08 * x


@pytest.mark.parametrize(
    "made",
    [Noise(0.0, 90.0), Noise(1.5, 0.0, "scan", 0.25), Noise(0.8, 30.0, "camera", 0.55), Noise(2.0, 0.0)],
    ids=lambda n: n.kind,
)
def test_noise_of_a_known_kind_is_recognised_and_measured(made: Noise, clean: np.ndarray) -> None:
    noisy = clean + made.draw(clean, np.random.default_rng(0))
    found = Noise.measure(noisy)
    assert found.kind == made.kind and abs(found.reach - made.reach) < 0.15
    for level in (70.0, 140.0):
        assert 0.8 < found.std_at(level) / made.std_at(level) < 1.25


def test_a_clean_plane_has_next_to_no_noise(clean: np.ndarray) -> None:
    assert Noise.measure(clean).std_at(100.0) < 2.5  # sharp edges count a little; the contrast is 80


def test_drawn_noise_has_the_strength_and_the_reach_it_was_asked_for() -> None:
    flat = np.full((256, 256), 100.0)
    for made in (Noise(1.0, 0.0, "scan", 0.3), Noise(1.0, 0.0, "camera", 0.6, 0.1), Noise(1.0, 0.0)):
        drawn = made.draw(flat, np.random.default_rng(1))
        assert abs(drawn.std() / 10 - 1) < 0.05
        beyond = made.correlated_px[1] + 1
        assert abs(np.mean(drawn[:, beyond:] * drawn[:, :-beyond])) < 0.08 * drawn.var()


def test_scan_lines_that_jump_are_noticed(clean: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    lines = rng.normal(0, 6, (256, 1))
    found = Noise.measure(clean + rng.normal(0, 10, clean.shape) + lines)
    assert 3 < found.lines < 8 and "line levels jump" in found.spoken(100, 100)


def test_changing_the_scale_changes_the_numbers_but_not_the_noise(clean: np.ndarray) -> None:
    noisy = clean + Noise(1.0, 10.0, "scan", 0.2).draw(clean, np.random.default_rng(0))
    there, here = Noise.measure((noisy - 30) / 50), Noise.measure(noisy)
    assert there.kind == here.kind
    levels = np.array([0.5, 1.5])
    np.testing.assert_allclose(there.variance(levels) * 50**2, here.variance(levels * 50 + 30), rtol=1e-6)


def test_planes_that_are_flat_dark_or_partly_empty_can_be_measured() -> None:
    for plane in (np.full((32, 40), 7.0), np.zeros((64, 64), np.uint8), np.where(np.eye(64) > 0, np.nan, 1.0)):
        found = Noise.measure(plane)
        assert np.isfinite(found.std_at(1.0)) and found.std_at(1.0) < 0.1


def test_structure_in_a_residual_is_told_from_noise(clean: np.ndarray) -> None:
    noise = Noise(1.0, 0.0, "camera", 0.55).draw(clean, np.random.default_rng(0))
    assert structure_left(noise) < 0.02
    assert structure_left(noise + 0.5 * (clean - gaussian_filter(clean, 8))) > structure_left(noise) + 0.05


def test_a_smooth_background_with_streaks_is_found_under_noise() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] / 256
    background = 30 * y * x + np.repeat(rng.normal(0, 4, (256, 1)), 256, 1)
    found = smooth_background(background + rng.normal(0, 5, background.shape), Noise(0.0, 25.0), 100.0)
    left = (background - found)[20:-20, 20:-20]
    assert left.std() < 0.35 * background[20:-20, 20:-20].std()


def test_a_lattice_is_no_noise_and_its_rows_are_no_lines_that_jump() -> None:
    at = np.arange(256)
    row = np.exp(-(((at[:, None] - np.arange(0, 256, 4.3)) / 1.0) ** 2) / 2).sum(1)
    noisy = 100 + 80 * np.outer(row, row) + np.random.default_rng(0).normal(0, 5, (256, 256))
    found = Noise.measure(noisy)
    assert 4.5 < found.std_at(130.0) < 6 and found.lines < 1


@pytest.mark.parametrize("filled_with", [np.nan, 0.0])
@pytest.mark.parametrize("share", [0.35, 0.65])
def test_what_is_padded_does_not_change_the_noise_that_is_measured(
    clean: np.ndarray, filled_with: float, share: float
) -> None:
    noisy = clean + np.random.default_rng(0).normal(0, 10, clean.shape)
    noisy[: int(share * 256)] = filled_with
    found = Noise.measure(noisy)
    assert 8.5 < found.std_at(100.0) < 11.5 and found.lines < 4 and found.jitter_px < 0.3


def test_noise_is_told_in_the_units_of_the_image_however_small_they_are() -> None:
    noise = Noise(0.0, 0.04)
    assert "of 2e-10 grey levels (20% of the contrast)" in noise.spoken(0.5, 1.0, 1e-9)


@pytest.mark.parametrize("made", [Noise(0.0, 100.0, lines=6.0), Noise(0.0, 100.0, "camera", 1.0)])
def test_noise_of_lines_and_cameras_is_no_structure(made: Noise) -> None:
    flat = np.full((300, 400), 100.0, np.float32)
    residual = made.draw(flat, np.random.default_rng(1))
    by_chance = structure_by_chance(made, 100.0)
    assert by_chance > 0.01 and abs(structure_left(residual) - by_chance) < 0.3 * by_chance
