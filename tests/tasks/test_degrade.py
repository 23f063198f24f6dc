"""Each thing that spoils a micrograph does what it is named after, and nothing else."""

import numpy as np
import pytest

from napari_fewshot.tasks import degrade

SHAPE = (64, 96)


def rng(seed=0):
    return np.random.default_rng(seed)


def neighbours(image, axis):
    """Correlation of pixels with the next ones along an axis."""
    a, b = (np.take(image, range(start, image.shape[axis] - 1 + start), axis) for start in (0, 1))
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize("dose", [5.0, 50.0])
def test_counted_electrons_have_the_mean_and_the_variance_of_poisson(dose):
    counted = degrade.count_electrons(np.full((300, 300), 0.5), dose, rng())
    assert abs(counted.mean() - 0.5) < 0.01
    assert abs(counted.var() * dose / 0.5 - 1) < 0.05


def test_the_noise_of_a_camera_is_correlated_alike_in_all_directions():
    noise = np.mean(
        [[neighbours(degrade.camera(np.full(SHAPE, 0.5), 20, rng(s)), a) for a in (0, 1)] for s in range(20)], 0
    )
    assert min(noise) > 0.1 and abs(noise[0] - noise[1]) < 0.05


def test_an_after_glow_runs_along_the_scan_line_only():
    spot = np.zeros(SHAPE)
    spot[10, 20] = 1
    glowing = degrade.after_glow(spot, 0.25)
    assert glowing[10, 20] == 0.75 and glowing[10, 21] == 0.25 and glowing.sum() == 1


def test_a_scanned_beam_flickers_from_line_to_line():
    flat = np.full((200, 200), 0.5)
    lines = [degrade.scanned_beam(flat, 1000, rng(s)).mean(1).std() for s in range(10)]
    columns = [degrade.scanned_beam(flat, 1000, rng(s)).mean(0).std() for s in range(10)]
    assert np.mean(lines) > 2 * np.mean(columns)


def test_blur_spreads_a_spot_and_keeps_its_brightness():
    spot = np.zeros(SHAPE)
    spot[30, 40] = 1
    blurred = degrade.blur(spot, 1.5, rng())
    assert abs(blurred.sum() - 1) < 1e-6 and blurred.max() < 0.2


def test_charging_runs_along_x_and_curtains_along_y():
    for seed in range(5):
        streaks, stripes = degrade.charging(SHAPE, rng(seed)), degrade.curtains(SHAPE, rng(seed))
        assert neighbours(streaks, 1) > 0.97 and neighbours(stripes, 0) > 0.99
        assert neighbours(streaks, 1) > neighbours(streaks, 0) and neighbours(stripes, 0) > neighbours(stripes, 1)


def test_a_background_is_smooth_with_zero_mean():
    field = degrade.background_field((64, 80), rng())
    assert field.shape == (64, 80) and abs(field.mean()) < 1e-5 and field.std() > 0.01


def test_jitter_moves_rows_along_x_only():
    ramp = np.tile(np.arange(64, dtype=np.float32)[:, None], (1, 64))
    np.testing.assert_allclose(degrade.jitter_rows(ramp, 0.5, rng()), ramp)


def test_binning_averages_and_cuts_what_fills_no_pixel():
    np.testing.assert_allclose(degrade.bin_down(np.arange(20.0).reshape(4, 5), 2), [[3, 5], [13, 15]])
