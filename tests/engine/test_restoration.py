"""A restoration keeps the mean, tells how far it may be off, and is consistent with its input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter, median_filter

from napari_fewshot import samples
from napari_fewshot.core.errors import FewshotError, PictureError
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.residual import blur_between
from napari_fewshot.engine.restoration import restore_plane
from napari_fewshot.engine.settle import keep_consistent, noise_std
from napari_fewshot.tasks.degrade import bin_down
from tests.engine.noting import Noting

SAMPLES = Path(samples.__file__).parent


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A noisy plane of grains of many sizes and what it would be without noise, (192, 192) float32, levels 50 to 180."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:192, :192]
    clean = np.full((192, 192), 60.0)
    for _ in range(60):
        cy, cx, r = rng.uniform(0, 192), rng.uniform(0, 192), rng.uniform(3, 16)
        clean[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = rng.uniform(80, 180)
    clean = gaussian_filter(clean, 0.7)
    return (clean + Noise(2.0, 20.0, "scan", 0.25).draw(clean, rng)).astype(np.float32), clean


@pytest.mark.parametrize("name", ["em-denoise", "em-background", "em-superres-x2"])
@pytest.mark.parametrize(("dtype", "strength"), [("uint8", 1.0), ("float32", 1.0), ("uint8", 0.5), ("uint8", 2.0)])
def test_the_mean_is_kept_within_half_a_percent(
    name: str, dtype: str, strength: float, scene: tuple[np.ndarray, np.ndarray]
) -> None:
    plane = np.clip(scene[0], 0, 255).astype(dtype)
    restored = restore_plane(Generator.from_file(Shelf().read(name)), plane, Restoring(strength))
    assert abs(restored.values.mean(dtype=float) / plane.mean(dtype=float) - 1) < 0.005


@pytest.mark.parametrize("name", ["em-denoise", "em-background", "em-superres-x2"])
def test_the_mean_of_what_is_there_is_kept_beside_what_is_not(name: str, scene: tuple[np.ndarray, np.ndarray]) -> None:
    plane = scene[0].copy()
    plane[:, :80] = np.nan
    restored = restore_plane(Generator.from_file(Shelf().read(name)), plane)
    assert abs(np.nanmean(restored.values) / np.nanmean(plane) - 1) < 0.005


@pytest.mark.parametrize("name", ["em-denoise", "em-background", "em-superres-x2"])
def test_where_nothing_is_nothing_is_made_up(name: str) -> None:
    restored = restore_plane(Generator.from_file(Shelf().read(name)), np.full((96, 96), 0.02, np.float32))
    assert np.ptp(restored.values) == 0 and restored.values[0, 0] == np.float32(0.02)


def test_integers_too_few_for_a_result_are_remarked(denoiser: Generator) -> None:
    counts = np.random.default_rng(0).poisson(0.4, (96, 96)).astype(np.uint16)
    heard = Noting()
    restore_plane(denoiser, counts, listener=heard)
    assert ["convert it to float32" in note for note in heard.notes] == [True]
    restore_plane(denoiser, counts.astype(np.float32), listener=(quiet := Noting()))
    assert quiet.notes == []


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_levels_that_are_out_of_all_proportion_are_restored_or_refused(denoiser: Generator, scale: float) -> None:
    plane = np.random.default_rng(0).random((96, 96)) * scale
    if scale > 1:
        with pytest.raises(PictureError, match="divide the image"):
            restore_plane(denoiser, plane)
    else:
        assert np.isfinite(restore_plane(denoiser, plane).values).all()


def test_uncertainty_is_larger_where_the_error_is(denoiser: Generator, scene: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, clean = scene
    restored = restore_plane(denoiser, noisy, Restoring(uncertainty=True, n_alternatives=2))
    sigma, error = restored.maps["uncertainty"], np.abs(restored.values - clean)
    assert 0.8 < np.mean(error < 1.645 * sigma) < 0.99
    low, high = np.quantile(sigma, [0.2, 0.8])
    assert error[sigma > high].mean() > 1.5 * error[sigma < low].mean()
    others = restored.maps["alternatives"]
    assert others.shape == (2, *noisy.shape) and others.dtype == restored.values.dtype
    assert 0 < np.std(others[0] - others[1]) < 3 * error.std()


@pytest.mark.parametrize(("name", "least"), [("nanoparticles", 0.35), ("axons", 0.25), ("superalloy", 0.15)])
def test_nine_tenths_of_a_micrograph_lie_within_the_90_percent_interval(
    denoiser: Generator, name: str, least: float
) -> None:
    clean = bin_down(tifffile.imread(SAMPLES / f"{name}.tif"), 2)[:256, :256]
    clean = clean / np.quantile(clean, 0.99)
    noisy = clean + Noise(0.03, 0.0005, "scan", 0.25).draw(clean, np.random.default_rng(1))
    restored = restore_plane(denoiser, noisy, Restoring(uncertainty=True))
    sigma, error = restored.maps["uncertainty"], np.abs(restored.values - clean)
    assert 0.85 < np.mean(error < 1.645 * sigma) < 0.96
    assert np.corrcoef(sigma.ravel(), error.ravel())[0, 1] > least


@pytest.mark.parametrize("name", ["em-denoise", "em-superres-x2"])
def test_nobody_is_sure_of_an_image_without_noise(name: str) -> None:
    plane = np.full((96, 96), 7.0, np.float32)
    plane[:, 48:] = 9.0
    restored = restore_plane(Generator.from_file(Shelf().read(name)), plane, Restoring(uncertainty=True))
    sigma = restored.maps["uncertainty"]
    assert np.isfinite(sigma).all() and sigma.min() > 0


@pytest.mark.parametrize("name", ["em-denoise", "em-background", "em-superres-x2"])
def test_more_strength_leaves_less_noise_and_less_detail(name: str, scene: tuple[np.ndarray, np.ndarray]) -> None:
    generator, clean, noise = Generator.from_file(Shelf().read(name)), scene[1].copy(), Noise(2.0, 20.0, "scan", 0.25)
    flat, fine = (slice(8, -8), slice(8, 48)), (slice(64, 128), slice(64, 128))
    clean[:, :56], clean[fine] = 60, 90 + 20 * np.sin(2 * np.pi * np.arange(64) / 5)
    planes = [(clean + noise.draw(clean, np.random.default_rng(seed))).astype(np.float32) for seed in range(2)]
    kept, contrast = [], []
    for strength in (0.5, 0.7, 1.0, 1.4, 2.0):
        results = [restore_plane(generator, p, Restoring(strength)).values for p in planes]
        first, second = (bin_down(r, generator.card.factor) for r in results)
        kept.append((first - second)[flat].std())
        contrast.append(((first + second)[fine] * (clean[fine] - 90)).sum())
    assert (np.diff(kept) < 0).all() and (np.diff(contrast) < 0).all()


def test_a_strength_out_of_range_names_the_range() -> None:
    with pytest.raises(FewshotError, match=r"0\.5 to 2"):
        Restoring(3.0)


def test_outliers_of_the_input_are_not_drawn_into_a_finer_image() -> None:
    scaled = np.random.default_rng(0).normal(0.5, 0.02, (64, 64)).astype(np.float32)
    scaled[::16, ::16] = 3.0  # 16 hot pixels, less than 1 %
    answer = np.full((128, 128), 0.5, np.float32)
    keep_consistent(answer, scaled, 2, Noise.measure(scaled))
    assert abs(answer[::32, ::32].mean() - 0.5) < 0.1


@pytest.mark.parametrize(
    ("name", "strength"), [("em-superres-x2", 0.5), ("em-superres-x2", 1.0), ("em-superres-x4", 1.0)]
)
def test_a_super_resolved_plane_gives_its_input_back_within_the_noise(
    name: str, strength: float, scene: tuple[np.ndarray, np.ndarray]
) -> None:
    noisy, generator = scene[0], Generator.from_file(Shelf().read(name))
    restored = restore_plane(generator, noisy, Restoring(strength))
    back = bin_down(restored.values, generator.card.factor)
    assert np.mean(np.abs(back - noisy) <= noise_std(noisy, Noise.measure(noisy))) >= 0.99
    assert restored.report.within >= 0.99


def test_more_strength_lets_a_super_resolution_be_as_much_further_from_its_input(
    scene: tuple[np.ndarray, np.ndarray],
) -> None:
    noisy, generator = scene[0], Generator.from_file(Shelf().read("em-superres-x2"))
    restored = restore_plane(generator, noisy, Restoring(2.0))
    away = np.abs(bin_down(restored.values, 2) - noisy) / noise_std(noisy, Noise.measure(noisy))
    assert np.mean(away <= 2) >= 0.99 and restored.report.within < 0.9


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_input_is_result_and_background_and_residual(strength: float, scene: tuple[np.ndarray, np.ndarray]) -> None:
    y, _ = np.mgrid[:192, :192]
    plane = np.clip(scene[0] + 60 * np.sin(y / 60), 0, 255).astype(np.uint8)
    generator = Generator.from_file(Shelf().read("em-background"))
    restored = restore_plane(generator, plane, Restoring(strength, background=True))
    background, residual = restored.maps["background"], restored.maps["residual"]
    np.testing.assert_allclose(restored.values + background + residual, plane, atol=1e-3)
    assert np.corrcoef(background[:, 96], np.sin(y[:, 96] / 60))[0, 1] > 0.5
    assert np.abs(gaussian_filter(residual, 12)).max() < np.abs(background).max()


def test_a_corruption_that_no_training_used_is_restored_too(
    denoiser: Generator, scene: tuple[np.ndarray, np.ndarray]
) -> None:
    """Multiplicative speckle, correlated over a pixel, with a tenth of a percent of hit pixels."""
    rng, clean = np.random.default_rng(5), scene[1]
    speckle = gaussian_filter(rng.gamma(4.0, 0.25, clean.shape), 0.6)
    noisy = clean * speckle / speckle.mean()
    noisy[rng.random(clean.shape) < 0.001] = 255
    values = restore_plane(denoiser, noisy.astype(np.float32)).values
    errors = [np.sqrt(np.mean((x - clean) ** 2)) for x in (noisy, values, median_filter(noisy, 3))]
    assert errors[1] < 0.8 * errors[0] and errors[1] < 1.2 * errors[2]


@pytest.mark.parametrize("name", ["em-denoise", "em-denoise-base"])
@pytest.mark.parametrize("dose", [5, 80])
def test_no_structure_is_made_of_noise_alone(name: str, dose: int) -> None:
    """Trained on drawn atoms or not: where there is nothing, no lattice and no speckle stays."""
    noise = (np.random.default_rng(0).poisson(0.5 * dose, (160, 160)) / dose).astype(np.float32)
    values = restore_plane(Generator.from_file(Shelf().read(name)), noise).values
    assert values.std() < 0.08 * noise.std()


def test_the_report_says_in_words_what_was_found(denoiser: Generator, scene: tuple[np.ndarray, np.ndarray]) -> None:
    report = restore_plane(denoiser, scene[0]).report
    assert "shot" in report.noise and "scan line" in report.noise and "% of the contrast" in report.noise
    assert 0.5 < report.residual_sigmas < 1.2 and "taken away" in report.spoken()


def test_a_hit_pixel_draws_no_ring_in_a_super_resolution(superalloy: tuple[np.ndarray, np.ndarray]) -> None:
    plain = superalloy[0].astype(np.uint16) * 12 + 500
    hit = plain.copy()
    hit[100, 100] = 65535
    doubler = Generator.from_file(Shelf().read("em-superres-x2"))
    found = [restore_plane(doubler, plane).values.astype(np.int64) for plane in (plain, hit)]
    assert found[1].min() > 0
    around = np.abs(found[1] - found[0])
    around[200:202, 200:202] = 0
    assert around.max() < 1500  # of 65535


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_what_another_strength_changes_is_in_the_uncertainty(strength: float, denoiser: Generator) -> None:
    y, x = np.mgrid[:192, :192]
    clean = gaussian_filter(60.0 + 80 * (((y % 61 - 30) ** 2 + (x % 67 - 33) ** 2) < 21**2), 1.0)
    noisy = (clean + np.random.default_rng(0).normal(0, 25, clean.shape)).astype(np.float32)
    found = [restore_plane(denoiser, noisy, Restoring(s, uncertainty=True)) for s in (1.0, strength)]
    errors = [np.abs(r.values - clean) for r in found]
    assert found[1].maps["uncertainty"].mean() > found[0].maps["uncertainty"].mean()
    assert np.mean(errors[1] < 1.645 * found[1].maps["uncertainty"]) > 0.85


def test_a_sharpened_picture_is_compared_with_its_input_as_blurred_as_that_is() -> None:
    sharp = np.random.default_rng(0).normal(size=(128, 128)).cumsum(0).cumsum(1).astype(np.float32)
    sharp = np.sin(sharp / np.abs(sharp).max() * 60)
    assert blur_between(sharp, gaussian_filter(sharp, 1.2)) == pytest.approx(1.2)
    assert blur_between(sharp, sharp) == 0


def test_a_blurred_picture_is_sharper_on_its_own_grid() -> None:
    y, x = np.mgrid[:192, :192]
    clean = 60.0 + 80 * (((y % 31 - 15) ** 2 + (x % 37 - 18) ** 2) < 8**2)
    clean = gaussian_filter(clean, 0.5)
    seen = gaussian_filter(clean, 1.3) + np.random.default_rng(0).normal(0, 4, clean.shape)
    found = restore_plane(Generator.from_file(Shelf().read("em-sharpen")), seen.astype(np.float32), Restoring())
    assert found.values.shape == clean.shape
    errors = [float(np.mean((picture - clean) ** 2)) for picture in (seen, found.values)]
    assert errors[1] < 0.7 * errors[0]
    assert found.report.structure < 0.05  # as blurred as the input is, it explains it
