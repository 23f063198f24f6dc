"""Whether an adaptation got better is told without the truth, by parts of the image that it learned nothing from."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_fewshot.engine.alone import Alone
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.risk import Risk

NOISE = Noise(0.01, 0.002, "scan", 0.25)
EVERYWHERE = (slice(0, 256), slice(0, 256))


def waves(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy and clean, (256, 256) float32 each, levels about 0 to 1."""
    y, x = np.mgrid[:256, :256].astype(np.float32)
    clean = 0.5 + 0.25 * np.cos(y * 0.4) * np.cos(x * 0.35) + 0.15 * np.cos(0.1 * (x + y))
    return clean + NOISE.draw(clean, np.random.default_rng(seed)), clean


def test_blocks_that_are_spared_teach_nothing() -> None:
    plane = Alone.of_plane(*waves(0), factor=1, has_background=False)
    assert plane.spared.mean() == pytest.approx(0.25)
    for seed in range(4):
        known = plane.known(EVERYWHERE, np.random.default_rng(seed))
        hidden = plane.hidden(EVERYWHERE, np.random.default_rng(seed))
        asked = plane.hidden(EVERYWHERE, np.random.default_rng(seed), spared=True)
        assert np.isnan(known.wanted).mean() == pytest.approx(0.25)
        assert hidden.mask.any() and asked.mask.any() and not (hidden.mask * asked.mask).any()


def test_a_spared_block_is_as_small_as_the_image_asks_for() -> None:
    plane = Alone.of_plane(*(p[:64, :64] for p in waves(0)), factor=1, has_background=False)
    assert 0 < plane.spared.mean() < 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_risk_tells_a_worse_denoiser_without_the_truth(denoiser: Generator, seed: int) -> None:
    noisy, clean = waves(seed)
    generator = torch.Generator().manual_seed(seed)
    other = Generator(denoiser.card, copy.deepcopy(denoiser.network))
    for parameter in other.network.head.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    answers = [predict_plane(g, noisy)[0] for g in (denoiser, other)]
    risk = Risk([Alone.of_plane(noisy, answers[0], factor=1, has_background=False)], seed)
    found = np.subtract(*(risk.errors(g).mean() for g in (denoiser, other)))
    true = np.subtract(*(np.mean((a - clean) ** 2) for a in answers))
    assert np.sign(found) == np.sign(true)


def test_what_a_bad_denoiser_takes_away_makes_the_noise_little_stronger() -> None:
    noisy, level = waves(0)
    share = [
        NOISE.as_strong_as(2 * (noisy - level), level, most=most).variance(level).mean() / NOISE.variance(level).mean()
        for most in (np.inf, 1.1)
    ]
    assert share[0] > 2 and share[1] == pytest.approx(1.1)
