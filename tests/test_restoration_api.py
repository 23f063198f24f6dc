"""What the public functions offer beside an answer: strength, uncertainty in the image's units, one model after another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_fewshot as nf
from napari_fewshot.compute.events import Note
from napari_fewshot.core.simulate import simulate_strokes


@pytest.fixture(scope="module")
def denoiser():
    return nf.load("em-denoise")


def test_uncertainty_of_a_restoration_is_in_the_units_of_the_image(denoiser, disc):
    image = disc[0].astype(np.uint16) * 100
    values, sigma = nf.predict(denoiser, image, uncertainty=True)
    assert sigma.dtype == np.float32 and sigma.shape == values.shape
    assert 20 < np.median(sigma) < 1200  # the noise is 1200


def test_a_segmentation_of_the_denoised_image_is_one_call(denoiser, disc):
    image, truth = disc
    clean = nf.predict(denoiser, image)
    tuned = nf.fine_tune(nf.load("em-segment"), clean, simulate_strokes(truth, 3), steps=0)
    np.testing.assert_array_equal(nf.predict(tuned, image, first=denoiser), nf.predict(tuned, clean))


def test_a_series_learns_from_its_mean(denoiser, disc):
    rng = np.random.default_rng(0)
    frames = disc[0] + rng.normal(0, 12, (3, *disc[0].shape)).astype(np.float32)
    assert nf.fine_tune(denoiser, frames, frames.mean(0), steps=2).card.steps == 2
    with pytest.raises(nf.FewshotError, match="for all its planes"):
        nf.fine_tune(denoiser, frames, frames.mean(0)[:50], steps=1)


def test_a_strength_where_nothing_is_restored_says_so(disc):
    with pytest.raises(nf.FewshotError, match="does not restore: leave out the strength"):
        nf.predict(nf.load("em-segment"), disc[0], strength=2)


def test_a_strength_out_of_range_says_so(denoiser, disc):
    with pytest.raises(nf.FewshotError, match=r"0\.5 to 2"):
        nf.predict(denoiser, disc[0], strength=5)


def test_what_restores_first_is_as_strong_as_asked_and_must_be_a_restoration(denoiser, disc):
    image, truth = disc
    tuned = nf.fine_tune(nf.load("em-segment"), image, simulate_strokes(truth, 3), steps=0)
    strong = nf.predict(tuned, nf.predict(denoiser, image, strength=2.0))
    np.testing.assert_array_equal(nf.predict(tuned, image, strength=2.0, first=denoiser), strong)
    for wrong in (tuned, nf.load("em-superres-x2")):
        with pytest.raises(nf.FewshotError, match="choose one that denoises"):
            nf.predict(tuned, image, first=wrong)


def test_a_name_is_no_generator_and_a_restoration_has_nothing_to_paint(denoiser, disc):
    for function in (nf.predict, nf.fine_tune, nf.suggest):
        with pytest.raises(nf.FewshotError, match="load it first"):
            function("em-denoise", disc[0])
    with pytest.raises(nf.FewshotError, match="needs no strokes"):
        nf.suggest(denoiser, disc[0])


def test_an_empty_plane_of_a_stack_is_left_out_and_told(denoiser, disc):
    stack = disc[0].astype(np.float32)[None].repeat(3, 0)
    stack[0] = np.nan
    heard = []
    values, sigma = nf.predict(denoiser, stack, uncertainty=True, on_event=heard.append)
    assert np.isnan(values[0]).all() and np.isnan(sigma[0]).all()
    np.testing.assert_array_equal(values[1], nf.predict(denoiser, stack[1]))
    notes = [event.message for event in heard if isinstance(event, Note)]
    assert len(notes) == 1 and notes[0].startswith("plane 0 is left out: the image has no finite pixel")
    with pytest.raises(nf.FewshotError, match="no finite pixel"):
        nf.predict(denoiser, stack[:1])


def test_an_empty_plane_has_no_classes(disc):
    image, truth = disc
    tuned = nf.fine_tune(nf.load("em-segment"), image, simulate_strokes(truth, 3), steps=0)
    classes = nf.predict(tuned, np.stack([image.astype(np.float32), np.full(image.shape, np.nan, np.float32)]))
    assert (classes[0] > 0).all() and not classes[1].any()


def test_what_is_no_numpy_array_of_numbers_is_taken_or_refused_with_the_cure(denoiser, disc):
    image = disc[0]
    want = nf.predict(denoiser, image)
    np.testing.assert_array_equal(nf.predict(denoiser, torch.from_numpy(image)), want)
    with pytest.raises(nf.FewshotError, match="give a numpy array"):
        nf.predict(denoiser, torch.zeros(64, 64, requires_grad=True))
    with pytest.raises(nf.FewshotError, match=r"number, 0\.5 to 2.0, got '1'"):
        nf.predict(denoiser, image, strength="1")


def test_masked_floats_are_not_known_and_masked_integers_are_refused(denoiser, disc):
    image = disc[0].astype(np.float32)
    mask = np.zeros(image.shape, bool)
    mask[10:30, 10:30] = True
    values = nf.predict(denoiser, np.ma.array(image, mask=mask))
    np.testing.assert_array_equal(values, nf.predict(denoiser, np.where(mask, np.nan, image)))
    with pytest.raises(nf.FewshotError, match="convert it to floats"):
        nf.predict(denoiser, np.ma.array(disc[0], mask=mask))
    np.testing.assert_array_equal(nf.predict(denoiser, np.ma.array(disc[0])), nf.predict(denoiser, disc[0]))


def test_some_images_of_a_list_may_have_no_target(denoiser, disc):
    image, truth = disc
    clean = (80 + 90 * (truth == 2)).astype(np.uint8)
    assert nf.fine_tune(denoiser, [image, image], [clean, None], steps=1).card.steps == 1
    tuned = nf.fine_tune(nf.load("em-segment"), [image, image], [None, simulate_strokes(truth, 3)], steps=0)
    assert tuned.card.classes
    with pytest.raises(nf.FewshotError, match="image 1 is None"):
        nf.fine_tune(denoiser, [image, None], [clean, None], steps=1)
