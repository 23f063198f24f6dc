"""Each pretext can be learned, and its terms are what their papers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_fewshot.core.job import Budget
from napari_fewshot.core.picture import Picture
from napari_fewshot.engine.fit import fit
from napari_fewshot.engine.listen import SILENT
from napari_fewshot.engine.patches import Patches
from napari_fewshot.engine.pretexts import PRETEXTS, hybrid, inpaint
from napari_fewshot.engine.pretexts.combined import Combined
from napari_fewshot.engine.pretexts.contrast import TEMPERATURE, Contrast, pixel_contrast, region_contrast
from napari_fewshot.engine.pretexts.episodic import Episodes, Episodic
from napari_fewshot.engine.pretexts.hybrid import draw_diffused
from napari_fewshot.engine.pretexts.inpaint import hide
from napari_fewshot.engine.pretexts.pretext import Pretext, Shared, Sources
from napari_fewshot.engine.schedule import Schedule
from napari_fewshot.engine.windows import find_windows

NET: dict[str, Any] = {"name": "residual-unet", "widths": [8, 16]}

pytestmark = pytest.mark.usefixtures("few_pixels")


@pytest.fixture
def sources(superalloy: tuple[np.ndarray, np.ndarray]) -> Sources:
    return Sources(Patches(find_windows([Picture(superalloy[0], "YX")])))


class SameStep(Combined):
    """Draws the same for every step, so that a loss that can be lowered is."""

    def _draw(self, step: int) -> dict[str, Any]:
        return super()._draw(0)


@pytest.mark.parametrize("name", PRETEXTS)
def test_every_pretext_lowers_its_own_loss(name: str, sources: Sources) -> None:
    torch.manual_seed(0)
    objective = SameStep(NET, {PRETEXTS[name]("cpu"): 1.0}, sources, sources, n_loaders=0)
    losses = fit(
        objective, Schedule(Budget(steps=14), rate=5e-3, warm_steps=1), SILENT, np.random.default_rng(0)
    ).losses
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:2])


@pytest.mark.parametrize("name", PRETEXTS)
def test_every_pretext_is_judged_and_shown(name: str, sources: Sources) -> None:
    objective = Combined(NET, {PRETEXTS[name]("cpu"): 1.0}, sources, sources, n_loaders=0)
    (pretext,) = objective.weights
    scores = objective.scores(objective.module)
    assert scores and np.isfinite([*scores.values()]).all()
    sample = pretext.sample(objective.module, objective.judged[pretext])
    assert sample.dtype == np.float32 and sample.ndim == 2 and sample.min() >= 0 and sample.max() <= 1


def test_weights_scale_the_terms_and_one_look_serves_two_pretexts(sources: Sources) -> None:
    pretexts: dict[Pretext, float] = {Episodic("cpu"): 1.0, Contrast("cpu"): 0.1}
    torch.manual_seed(0)
    objective = Combined(NET, pretexts, sources, sources, n_loaders=0)
    looked = []
    objective.module.backbone.get_submodule("stem").register_forward_hook(lambda *_: looked.append(1))
    terms = objective.losses(np.random.default_rng(0))
    assert set(terms) == {"episodic pixels", "episodic overlap", "contrast pixel", "contrast region"}
    assert len(looked) == 3  # once at each zoom
    objective.weights[next(p for p in pretexts if p.name == "contrast")] = 0.2
    objective.steps, objective.coming = 0, None
    twice = objective.losses(np.random.default_rng(0))["contrast pixel"]
    assert float(twice.detach()) == pytest.approx(2 * float(terms["contrast pixel"].detach()))


def test_a_step_draws_what_its_number_says(sources: Sources) -> None:
    objective = Combined(NET, {PRETEXTS["inpaint"]("cpu"): 1.0}, sources, sources, seed=3, n_loaders=0)
    a, b, c = (objective._draw(step)["masked"].given for step in (5, 5, 6))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_too_little_memory_halves_what_is_drawn_down_to_one(sources: Sources) -> None:
    objective = Combined(NET, {PRETEXTS["inpaint"]("cpu"): 1.0}, sources, sources, n_loaders=1)
    (pretext,) = objective.weights
    objective.losses(np.random.default_rng(0))
    assert objective.shrink() and objective.shrink() and not objective.shrink()
    assert pretext.batch == 1 and objective.coming is None and objective.steps == 1


def test_pixel_contrast_is_the_papers_sum() -> None:
    z, y = F.normalize(torch.randn(7, 5, dtype=torch.float64), dim=1), torch.tensor([0, 0, 0, 1, 1, 2, 2])
    wanted = []
    for i in range(7):
        negatives = sum(float((z[i] @ z[n] / TEMPERATURE).exp()) for n in range(7) if y[n] != y[i])
        for p in range(7):
            if p != i and y[p] == y[i]:
                positive = float((z[i] @ z[p] / TEMPERATURE).exp())
                wanted.append(-np.log(positive / (positive + negatives)))
    assert float(pixel_contrast(z, y)) == pytest.approx(np.mean(wanted))


def test_region_contrast_is_low_for_pixels_at_the_mean_of_their_class() -> None:
    means, there = torch.eye(3), torch.tensor([0, 1])
    assert float(region_contrast(means[:2], torch.tensor([0, 1]), means, there)) < 1e-3
    assert float(region_contrast(means[:2], torch.tensor([1, 0]), means, there)) > 5


def test_views_without_a_class_in_common_have_no_region_contrast(sources: Sources) -> None:
    pretext = Contrast("cpu")
    shared = Shared(NET, {"contrast": pretext})
    drawn = pretext.draw(sources, 0, np.random.default_rng(0))
    (episode, *_) = drawn.episodes
    episode.truth[1] = 0
    terms = pretext.losses(shared, Episodes([episode]))
    assert float(terms["region"].detach()) == 0 and torch.isfinite(terms["pixel"])


def test_hidden_blocks_cover_their_share() -> None:
    shares = [hide((64, 64), np.random.default_rng(seed)).mean() for seed in range(20)]
    assert min(shares) >= inpaint.HIDDEN_SHARE and np.mean(shares) < 0.55


def test_a_diffused_picture_goes_from_itself_to_noise(sources: Sources) -> None:
    likeness = []
    for level in (0.0, 0.5, 1.0):
        one = draw_diffused(sources, level, np.random.default_rng(1))
        likeness.append(np.corrcoef(one.noisy.ravel(), one.episode.views[0].ravel())[0, 1])
    assert likeness[0] > 0.999 > likeness[1] > 0.2 > abs(likeness[2])


def test_the_noise_level_changes_the_answer_once_it_is_learned(sources: Sources) -> None:
    pretext = PRETEXTS["hybrid"]("cpu")
    shared = Shared(NET, {"hybrid": pretext})
    torch.nn.init.normal_(shared.parts["hybrid"]["level"].change.weight)
    torch.nn.init.normal_(shared.parts["hybrid"]["image"].out.weight)
    (one,) = pretext.draw(sources, 0, np.random.default_rng(0))[:1]
    with torch.inference_mode():
        answers = [pretext.scores(shared, [hybrid.Diffused(one.episode, one.noisy, level)]) for level in (0.1, 0.9)]
    assert answers[0] != answers[1]
