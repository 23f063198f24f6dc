"""Adapting to an image without a clean one: it helps, it never harms, it can be stopped, and it uses neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget
from napari_fewshot.engine.alone import Alone, find_partners
from napari_fewshot.engine.fine_tune import fine_tune_restore
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Silent
from napari_fewshot.engine.noise import Noise
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.restoration import restore_plane
from napari_fewshot.engine.restore import OnImages, Paired
from tests.engine.noting import Noting

NOISE = Noise(2.0, 30.0, "camera", 0.6)


def lattice(seed: int, shape: tuple[int, int] = (256, 256)) -> tuple[np.ndarray, np.ndarray]:
    """Columns of atoms under camera noise, and without it; levels about 40 to 160."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    clean = 100 + 30 * np.cos(y * 0.55) * np.cos(x * 0.5) + 20 * np.cos(0.3 * (x + y))
    return (clean + NOISE.draw(clean, np.random.default_rng(seed))).astype(np.float32), clean


def rms(a: np.ndarray) -> float:
    return float(np.sqrt(np.mean(a**2)))


def test_adapting_to_a_noisy_image_alone_brings_it_closer_to_the_truth(denoiser: Generator) -> None:
    noisy, clean = lattice(0, (160, 160))
    tuned = fine_tune_restore(denoiser, [(noisy, None)], Budget(steps=60))
    before, after = (rms(predict_plane(g, noisy)[0] - clean) for g in (denoiser, tuned))
    assert after < 0.99 * before and tuned.card.scores["held-out gain"] > 0


def test_a_gain_that_is_not_certain_leaves_the_weights_as_they_were(denoiser: Generator) -> None:
    noisy = lattice(0, (96, 96))[0]
    objective = OnImages(denoiser, [(noisy, None)], seed=0)
    assert objective.score(objective.module) == 0
    objective.steps = 1
    generator = torch.Generator().manual_seed(0)
    for parameter in objective.module.head.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)  # worse
    worse = objective.score(objective.module)
    assert worse is not None and worse < 0


def test_a_stop_hands_over_the_best_so_far(denoiser: Generator) -> None:
    class Impatient(Silent):
        def stopped(self) -> bool:
            return True

    noisy = lattice(0, (96, 96))[0]
    tuned = fine_tune_restore(denoiser, [(noisy, None)], Budget(), listener=Impatient())
    assert np.array_equal(predict_plane(tuned, noisy)[0], predict_plane(denoiser, noisy)[0])


def test_a_hidden_pixel_and_what_shares_its_noise_tell_nothing() -> None:
    nothing = np.zeros((256, 256), np.float32)
    plane = Alone.of_plane(NOISE.draw(nothing + 100, np.random.default_rng(0)) / 50, nothing, 1, has_background=False)
    example = plane.hidden((slice(0, 256), slice(0, 256)), np.random.default_rng(1))
    assert example.mask is not None and example.seen is not None and plane.noise.correlated_px == (1, 1)
    spots = example.mask > 0
    for shift in ((0, 0), (0, 1), (1, 0)):
        given = np.roll(example.given, shift, (0, 1))[spots]
        assert abs(np.corrcoef(given, example.seen[spots])[0, 1]) < 0.1


def test_planes_of_one_scene_are_partners_and_others_are_not() -> None:
    first, second, other = lattice(1)[0], lattice(2)[0], lattice(3)[0].T * 1.1
    planes = [Alone.of_plane(p / 100, p / 100, 1, has_background=False) for p in (first, second, other)]
    find_partners(planes)
    assert planes[0].partner is planes[1].given and planes[1].partner is planes[0].given
    assert planes[2].partner is None
    example = planes[0].hidden((slice(0, 96), slice(0, 96)), np.random.default_rng(0))
    assert example.mask is not None
    assert example.mask.mean() == pytest.approx(1 - planes[0].spared[:96, :96].mean())


@pytest.mark.parametrize("n_pairs", [1, 2])
def test_pairs_and_images_alone_can_be_learned_from_together(n_pairs: int, denoiser: Generator) -> None:
    planes = [lattice(s) for s in range(n_pairs)]
    pairs = [(noisy, clean if i == 0 else None) for i, (noisy, clean) in enumerate(planes)]
    tuned = fine_tune_restore(denoiser, pairs, Budget(steps=3))
    assert tuned.card.scores["held-out error removed"] > 0


def test_empty_planes_are_left_out_unless_there_is_nothing_else(denoiser: Generator) -> None:
    noisy, blank = lattice(0)[0], np.zeros_like(lattice(0)[0])
    heard = Noting()
    pairs = [(blank, None), (noisy, None), (blank * np.nan, None)]
    tuned = fine_tune_restore(denoiser, pairs, Budget(steps=1), listener=heard)
    assert tuned.card.steps == 1 and any("2 of 3 planes" in note for note in heard.notes)
    with pytest.raises(PictureError, match="nothing to adapt to"):
        fine_tune_restore(denoiser, [(blank, None)], Budget(steps=1))


def test_a_training_that_kept_nothing_says_so_and_claims_nothing(denoiser: Generator) -> None:
    noisy, clean = lattice(0, (96, 96))
    heard = Noting()
    tuned = fine_tune_restore(denoiser, [(noisy, clean)], Budget(steps=0), listener=heard)
    assert any("nothing better was found" in note for note in heard.notes)
    assert tuned.card.data == denoiser.card.data and tuned.card.scores == {"held-out error removed": 0.0}


def test_pairs_too_small_to_hold_rows_out_say_so(denoiser: Generator) -> None:
    noisy, clean = lattice(0, (40, 96))
    heard = Noting()
    tuned = fine_tune_restore(denoiser, [(noisy, clean)], Budget(steps=1), listener=heard)
    assert any("too few known rows" in note for note in heard.notes) and not tuned.card.scores


def test_what_is_not_known_of_a_target_is_neither_learned_nor_judged(denoiser: Generator) -> None:
    noisy, clean = lattice(0, (128, 192))
    holes = clean.copy()
    holes[:, :96], holes[::9, ::7] = np.nan, np.inf
    whole, holed = (OnImages(denoiser, [(noisy, target)], seed=0) for target in (clean, holes))
    assert whole.errors is not None and holed.errors is not None
    np.testing.assert_allclose(holed.errors, whole.errors, rtol=0.3)
    gaps = np.where(np.arange(192) < 20, np.nan, noisy)
    source = OnImages(denoiser, [(gaps, clean)], seed=0).sources[0]
    assert (
        isinstance(source, Paired)
        and np.isnan(source.target[:, :20]).all()
        and np.isfinite(source.target[:, 20:]).all()
    )
    losses = [sum(o.losses(np.random.default_rng(1)).values()).item() for o in (whole, holed)]
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


def test_pairs_are_judged_by_what_users_get_before(denoiser: Generator) -> None:
    noisy, clean = lattice(0, (128, 160))
    objective = OnImages(denoiser, [(noisy, clean)], seed=0)
    got = restore_plane(denoiser, noisy[64:]).values[32:]
    assert objective.errors is not None
    error = np.sqrt(objective.errors.mean()) * Intensity.measure(noisy).span
    assert error == pytest.approx(rms(got - clean[96:]), rel=0.05)
