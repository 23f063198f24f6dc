"""A model that was trained on images like the one on display is recommended; one that was not, warned of."""

from __future__ import annotations

from dataclasses import replace

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.spectrum import N_BINS
from napari_fewshot.ui.fitting import advice

FOUND = (0.0,) * N_BINS


def card(name, level):
    made = ModelCard(name, "denoise", {"name": "none"})
    return made if level is None else replace(made, spectrum=((level,) * N_BINS, (0.2,) * N_BINS))


def test_a_model_that_fits_needs_no_word_and_one_without_a_spectrum_gets_none():
    fits, unknown = card("fits", 0.1), card("unknown", None)
    assert advice(FOUND, fits, [fits, unknown]) is None and advice(FOUND, unknown, [fits, unknown]) is None


def test_the_model_trained_on_such_images_is_recommended():
    mine, better = card("mine", 0.8), card("better", 0.1)
    assert "better was trained on images more like this one than mine" in advice(FOUND, mine, [mine, better])


def test_an_image_unlike_all_training_is_warned_of():
    mine = card("mine", 2.0)
    assert "unlike anything mine was trained on" in advice(FOUND, mine, [mine])
