"""Images are told apart by their power spectrum whatever their grey scale, and cards without one are coped with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.spectrum import FAR, N_BINS, spectrum, typical, unlikeness


def texture(grain_px: float, seed: int, shape: tuple[int, int] = (192, 192)) -> np.ndarray:
    """Blobs of about ``grain_px`` with a little noise, uint8."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    smooth = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) * np.exp(-((f * grain_px) ** 2)), shape)
    return np.clip(120 + 40 * smooth / smooth.std() + rng.normal(0, 4, shape), 0, 255).astype(np.uint8)


def test_gain_and_offset_do_not_matter() -> None:
    image = texture(8, 0)
    np.testing.assert_allclose(spectrum(image), spectrum(image.astype(np.uint16) * 37 + 500), atol=2e-3)


def test_an_image_like_the_training_is_near_and_another_is_far() -> None:
    trained = typical([spectrum(texture(8, seed)) for seed in range(6)])
    near, far = (unlikeness(spectrum(texture(grain, 99)), trained) for grain in (8, 1.5))
    assert near is not None and far is not None and near < 1.5 and far > FAR


def test_a_card_keeps_a_spectrum_and_copes_without() -> None:
    card = ModelCard("toy", "denoise", {"name": "none"})
    assert unlikeness(spectrum(texture(8, 0)), card.spectrum) is None
    known = replace(card, spectrum=typical([spectrum(texture(8, 0))]))
    again = ModelCard.from_json(known.to_json())
    assert again == known and again.spectrum is not None and len(again.spectrum[0]) == N_BINS


@pytest.mark.parametrize("shape", [(32, 40), (64, 64), (33, 300)])
def test_small_and_long_planes_have_a_spectrum(shape: tuple[int, int]) -> None:
    assert len(spectrum(texture(4, 0, shape))) == N_BINS and np.all(np.isfinite(spectrum(np.zeros(shape))))
