"""The strength of a restoration trades noise for detail: what stands out of the noise comes back, what hardly does goes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine import strength
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.strength import apply_strength, starlet

SAME = Intensity(0.0, 1.0)
NOISE = Noise(0.02, 0.004)
LINES, FLAT = (slice(30, 70), slice(30, 130)), (slice(90, 150), slice(30, 130))


def scene(factor: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy plane (160, 160), what a network might make of it, too smooth and not quite clean, and its fine lines."""
    rng, (_, x) = np.random.default_rng(0), np.mgrid[:160, :160]
    lines = np.zeros((160, 160), np.float32)
    lines[LINES] = 0.35 * np.sin(2 * np.pi * x / 4)[LINES]
    noise = NOISE.draw(np.full_like(lines, 0.5), rng)
    answer = 0.5 + 0.4 * lines + 0.5 * gaussian_filter(noise, 1.0)
    return 0.5 + lines + noise, answer.repeat(factor, 0).repeat(factor, 1).astype(np.float32), lines


def at(strength: float, plane: np.ndarray, answer: np.ndarray, factor: int = 1, background: bool = False) -> np.ndarray:
    changed = answer.copy()
    apply_strength(changed, plane, SAME, strength, factor=factor, has_background=background)
    return changed


def detail(x: np.ndarray, lines: np.ndarray) -> float:
    """Contrast of the lines, 1 as in the truth."""
    return float((x * lines).sum() / (lines**2).sum())


def test_strength_one_is_the_answer_of_the_network_to_the_bit() -> None:
    plane, answer, _ = scene()
    np.testing.assert_array_equal(at(1.0, plane, answer), answer)


def test_details_and_what_is_smooth_add_up_to_the_plane() -> None:
    plane = scene()[0]
    details, smooth = starlet(plane)
    np.testing.assert_allclose(np.sum(details, 0) + smooth, plane, atol=1e-5)
    assert [d.std() for d in details] == sorted([d.std() for d in details], reverse=True)  # white noise is mostly fine


def test_noise_in_flat_parts_and_contrast_of_lines_fall_with_every_step_of_strength() -> None:
    plane, answer, lines = scene()
    results = [at(s, plane, answer) for s in (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)]
    assert (np.diff([r[FLAT].std() for r in results]) < 0).all()
    assert (np.diff([detail(r, lines) for r in results]) < 0).all()
    assert detail(results[0], lines) > 0.55 > 0.3 > detail(results[-1], lines)
    assert results[-1][FLAT].std() < 0.7 * answer[FLAT].std()


def test_less_strength_is_no_blend_with_the_input() -> None:
    plane, answer, lines = scene()
    given_back, rest = at(0.5, plane, answer) - answer, plane - answer
    share = detail(given_back, lines) / detail(rest, lines)  # in a blend it is that of the noise, too
    assert share > 0.5 and given_back[FLAT].std() < 0.5 * share * rest[FLAT].std()


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("value", [0.5, 2.0])
def test_bands_leave_no_trace(value: float, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plane, answer, _ = scene(factor)
    whole = at(value, plane, answer, factor)
    monkeypatch.setattr(strength, "BAND_ROWS", strength.HALO_PX)
    np.testing.assert_array_equal(at(value, plane, answer, factor), whole)


@pytest.mark.parametrize("background", [True, False])
def test_a_background_that_was_taken_away_is_not_given_back(background: bool) -> None:
    plane, answer, lines = scene()
    streaks = 0.2 * np.random.default_rng(1).standard_normal((160, 1))  # charging
    less = at(0.5, (plane + streaks).astype(np.float32), answer, background=background)
    given_back = float(np.polyfit(streaks[:, 0], (less - answer).mean(1), 1)[0])  # share of the streaks
    assert given_back < 0.1 if background else given_back > 0.25
    assert not background or detail(less, lines) > 0.55


def test_pixels_that_are_not_finite_give_nothing_back() -> None:
    plane, answer, _ = scene()
    plane[100:104, 80:84] = np.nan
    less, more = at(0.5, plane, answer), at(2.0, plane, answer)
    assert np.isfinite(less).all() and np.isfinite(more).all()
    assert np.abs((less - answer)[101:103, 81:83]).max() < 0.05


def test_a_plane_of_one_level_stays_so() -> None:
    plane = np.full((64, 64), 0.5, np.float32)
    for value in (0.5, 2.0):
        np.testing.assert_allclose(at(value, plane, plane), plane, atol=1e-6)
