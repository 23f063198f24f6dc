"""What somebody declares good is learned from: background becomes even, structure stays, and the rest as it was."""

from __future__ import annotations

import numpy as np
import pytest

import napari_fewshot as nf
from napari_fewshot.core.errors import PictureError, StrokesError
from napari_fewshot.core.job import Budget
from napari_fewshot.core.restoring import Regions
from napari_fewshot.engine.fine_tune import fine_tune_restore
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.regions import wanted_of


@pytest.fixture
def grainy() -> np.ndarray:
    """Discs on a support of soft grains, (160, 192)."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:160, :192]
    discs = ((y % 64 - 32) ** 2 + (x % 64 - 32) ** 2) < 14**2
    grains = np.kron(rng.normal(0, 12, (40, 48)), np.ones((4, 4)))
    return (100 + 60 * discs + grains + rng.normal(0, 6, y.shape)).astype(np.float32)


def declared(shape: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[:, 58:70], labels[56:72, :] = 1, 1  # between the discs
    return labels


def test_good_background_is_wanted_even_and_good_structure_as_it_is(grainy: np.ndarray) -> None:
    labels = declared(grainy.shape)
    labels[20:44, 20:44] = 2
    wanted = wanted_of(grainy, Regions(labels), has_background=False)
    np.testing.assert_array_equal(wanted[labels == 2], grainy[labels == 2])
    assert np.isnan(wanted[labels == 0]).all()
    assert wanted[labels == 1].std() < 0.5 * grainy[labels == 1].std()
    assert np.ptp(wanted_of(grainy, Regions(labels), has_background=True)[labels == 1]) == 0


def test_a_denoiser_learns_that_the_grain_of_a_support_is_no_structure(denoiser: Generator, grainy: np.ndarray) -> None:
    labels = declared(grainy.shape)
    tuned = fine_tune_restore(denoiser, [(grainy, Regions(labels))], Budget(steps=60))
    before, after = (nf.predict(g, grainy) for g in (denoiser, tuned))
    assert tuned.card.scores["held-out error removed"] > 0.05
    assert after[labels == 1].std() < 0.95 * before[labels == 1].std()
    assert np.corrcoef(after[labels == 0], before[labels == 0])[0, 1] > 0.97


def test_regions_are_given_in_python_or_refused_with_the_cure(denoiser: Generator, grainy: np.ndarray) -> None:
    labels = declared(grainy.shape)
    tuned = nf.fine_tune(denoiser, np.stack([grainy, grainy]), regions=np.stack([labels, 0 * labels]), steps=1)
    assert tuned.card.parent == denoiser.card.id
    with pytest.raises(PictureError, match="paint background with 1"):
        nf.fine_tune(denoiser, grainy, regions=0 * labels, steps=1)
    with pytest.raises(PictureError, match="targets or regions, not both"):
        nf.fine_tune(denoiser, grainy, grainy, regions=labels, steps=1)
    with pytest.raises(PictureError, match="contrast, copy_paste and rank are for segmentations"):
        nf.fine_tune(denoiser, grainy, copy_paste=True, steps=1)
    with pytest.raises(StrokesError, match="regions are for restorations"):
        nf.fine_tune(nf.load("em-segment"), grainy, labels, regions=labels, steps=0)
    with pytest.raises(PictureError, match="finer image as its target"):
        nf.fine_tune(nf.load("em-superres-x2"), grainy, regions=labels, steps=1)
