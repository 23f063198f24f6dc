"""Pixel and region contrast: pixels of a class lie close together and far from other classes, within and across views."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.engine.look import Look, features_at
from napari_fewshot.engine.pretexts.episodes import Episode, draw_episode
from napari_fewshot.engine.pretexts.episodic import ZOOMS, Episodes, Episodic, truth_of
from napari_fewshot.engine.pretexts.pretext import Rng, Shared, Sources, grey, side_by_side, tensor

TEMPERATURE = 0.1  # of both papers
PER_CLASS = 48  # pixels of each class in each view
WIDTH = 64
N_JUDGED = 4


class Contrast(Episodic):
    """An auxiliary that learns from the same episodes, and the same look at them, as `Episodic`.

    Pixels attract pixels of their class and repel all others (Wang et al. 2021, arXiv 2101.11939); and they are
    drawn to the mean of their class in the other view (Chaitanya et al. 2021, arXiv 2112.09645). A small projection
    that is thrown away afterwards lies between features and contrast.
    """

    name = "contrast"

    def parts(self, widths: tuple[int, ...]) -> nn.Module:
        n = sum(widths) * len(ZOOMS)
        return nn.Sequential(nn.Linear(n, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH))

    def judged_on(self, held_out: Sources, rng: Rng) -> list[Episode]:
        return [draw_episode(held_out, rng) for _ in range(N_JUDGED)]

    def losses(self, shared: Shared, drawn: Episodes) -> dict[str, Tensor]:
        terms = [
            self._contrast(shared, looks, episode)
            for looks, episode in zip(drawn.seen(shared, self.device), drawn.episodes, strict=True)
        ]
        return {"pixel": torch.stack([t[0] for t in terms]).mean(), "region": torch.stack([t[1] for t in terms]).mean()}

    def scores(self, shared: Shared, judged: list[Episode]) -> dict[str, float]:
        terms = [self._contrast(shared, shared.look(tensor(e.views, self.device), ZOOMS), e) for e in judged]
        return {"contrast": float(np.mean([float(pixel + region) for pixel, region in terms]))}

    def sample(self, shared: Shared, judged: list[Episode]) -> np.ndarray:
        """The second view, its classes, and the class of the first view whose mean lies nearest."""
        episode = judged[-1]
        truth, looks = truth_of(episode.truth, self.device), shared.look(tensor(episode.views, self.device), ZOOMS)
        z, y = self._projected(shared, looks, 0, truth[0], _pixels(episode, 0))
        every = np.argwhere(np.ones(episode.painted.shape, bool))
        all_z, _ = self._projected(shared, looks, 1, truth[1], every)
        nearest = (all_z @ _means(z, y, episode.n_classes).T).argmax(1).view(truth.shape[1:])
        return side_by_side(torch.from_numpy(episode.views[1]), grey(truth[1]), grey(nearest))

    def _contrast(self, shared: Shared, looks: list[Look], episode: Episode) -> tuple[Tensor, Tensor]:
        truth, pixels = truth_of(episode.truth, self.device), [_pixels(episode, v) for v in (0, 1)]
        views = [self._projected(shared, looks, v, truth[v], yx) for v, yx in enumerate(pixels) if len(yx)]
        z, y = (torch.cat(parts) for parts in zip(*views, strict=True))
        if len(views) == 1 or not torch.isin(views[0][1], views[1][1]).any():  # the views have no class in common
            return pixel_contrast(z, y), 0 * z.sum()
        means = [_means(*view, episode.n_classes) for view in views]
        regions = [region_contrast(*views[v], means[1 - v], views[1 - v][1]) for v in (0, 1)]
        return pixel_contrast(z, y), torch.stack(regions).mean()

    def _projected(
        self, shared: Shared, looks: list[Look], view: int, truth: Tensor, pixels: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Unit vectors (N, WIDTH) of pixels (N, 2) of a view, and their classes."""
        yx = torch.from_numpy(pixels).to(self.device)
        of_view = [[m.of(m.values[view : view + 1]) for m in one] for one in looks]
        z = F.normalize(shared.parts[self.name](features_at(of_view, yx)), dim=1)
        return z, truth[yx[:, 0], yx[:, 1]]


def pixel_contrast(z: Tensor, y: Tensor) -> Tensor:
    """Mean over anchors of -log of a positive's share among itself and all negatives; unit vectors (N, D), classes (N,)."""
    likeness = z @ z.T / TEMPERATURE
    same = y[:, None] == y
    negatives = likeness.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    positives = same & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    return F.softplus(negatives - likeness)[positives].mean()


def region_contrast(z: Tensor, y: Tensor, means: Tensor, there: Tensor) -> Tensor:
    """Cross-entropy of pixels (N, D) against class means (K, D) of another view, for classes that are there."""
    known = torch.isin(y, there)
    absent = ~torch.isin(torch.arange(len(means), device=y.device), there)
    return F.cross_entropy((z[known] @ means.T / TEMPERATURE).masked_fill(absent, -torch.inf), y[known])


def _means(z: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """(K, D) unit means of the vectors of each class."""
    return F.normalize(F.one_hot(y, n_classes).to(z.dtype).T @ z, dim=1)


def _pixels(episode: Episode, view: int) -> np.ndarray:
    """(N, 2) pixels of known class of a view, evenly over the classes; the same ones for the same episode."""
    truth = episode.truth[view]
    rng = np.random.default_rng(int(truth.sum()))
    found = [np.argwhere(truth == k) for k in range(1, episode.n_classes + 1)]
    return np.concatenate([yx[rng.permutation(len(yx))[:PER_CLASS]] for yx in found])
