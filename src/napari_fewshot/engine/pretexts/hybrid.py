"""Restored image and masks from one pass over a diffused picture, conditioned on the level of its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.image import ImageHead
from napari_fewshot.engine.look import Look, whole
from napari_fewshot.engine.pretexts.episodes import Episode, draw_episode
from napari_fewshot.engine.pretexts.episodic import ZOOMS, hard_iou, label_all, truth_of
from napari_fewshot.engine.pretexts.pretext import Pretext, Rng, Shared, Sources, side_by_side, tensor

IMAGE_WEIGHT = 10.0  # the squared error of a unit scale is some hundredths
MASK_WEIGHT = 0.3  # masks weigh less than the image, as in the paper
WAVES = 8  # of the encoding of the noise level
N_JUDGED = 8


@dataclass(frozen=True, eq=False)
class Diffused:
    """An episode whose first view is diffused: sqrt(a) x + sqrt(1 - a) noise, a = cos(level * pi / 2) ** 2."""

    episode: Episode
    noisy: np.ndarray
    level: float


class Level(nn.Module):
    """Scales and shifts every channel by the noise level (Perez et al. 2018, FiLM).

    It acts on feature maps, so that the backbone stays that of the other pretexts and needs no noise level at work.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.change = nn.Linear(2 * WAVES, 2 * sum(self.widths))
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, looks: list[Look], level: float) -> list[Look]:
        device = self.change.weight.device
        turns = torch.pi * level * 2.0 ** torch.arange(WAVES, device=device)
        changes = self.change(torch.cat([turns.sin(), turns.cos()])).split([2 * w for w in self.widths])
        pairs = [c.view(2, 1, -1, 1, 1) for c in changes]  # (2 C,) -> (2, 1, C, 1, 1)
        return [[m.of(m.values * (1 + a) + b) for m, (a, b) in zip(one, pairs, strict=True)] for one in looks]


class Hybrid(Pretext):
    """Hybrid diffusion (Sauvalle & Salzmann 2024, arXiv 2408.03433): one pass answers the clean image and the masks.

    The paper's masks are those of a fixed list of classes; ours are whatever classes an episode has, so the mask
    channels are those of the closed-form head, fitted on strokes of the same diffused picture.
    """

    name = "hybrid"
    material = "diffused"
    uses_labels = True

    def __init__(self, device: str = "cpu", batch: int = 2) -> None:
        self.device, self.batch = device, batch

    def parts(self, widths: tuple[int, ...]) -> nn.Module:
        image, classes = ImageHead(widths[0], len(ZOOMS)), ClassesHead(sum(widths) * len(ZOOMS))
        return nn.ModuleDict({"level": Level(widths), "image": image, "classes": classes})

    def draw(self, sources: Sources, step: int, rng: Rng) -> list[Diffused]:
        return [draw_diffused(sources, float(rng.random()), rng) for _ in range(self.batch)]

    def judged_on(self, held_out: Sources, rng: Rng) -> list[Diffused]:
        return [draw_diffused(held_out, float(level), rng) for level in np.linspace(0, 0.6, N_JUDGED)]

    def losses(self, shared: Shared, drawn: list[Diffused]) -> dict[str, Tensor]:
        image, masks = [], []
        for one in drawn:
            restored, logits, wanted, truth = self._answer(shared, one)
            image.append(F.mse_loss(restored, wanted))
            masks.append(F.cross_entropy(logits, truth, ignore_index=-1))
        return {
            "image": IMAGE_WEIGHT * torch.stack(image).mean(),
            "masks": MASK_WEIGHT * torch.stack(masks).mean(),
        }

    def scores(self, shared: Shared, judged: list[Diffused]) -> dict[str, float]:
        """Squared error of the images and mean IoU of the masks, over noise levels from none to strong."""
        errors, overlaps = [], []
        for one in judged:
            restored, logits, wanted, truth = self._answer(shared, one)
            errors.append(float(F.mse_loss(restored, wanted)))
            overlaps.append(hard_iou(logits, truth))
        return {"diffused image L2": float(np.mean(errors)), "diffused mask IoU": float(np.mean(overlaps))}

    def sample(self, shared: Shared, judged: list[Diffused]) -> np.ndarray:
        one = judged[len(judged) // 2]
        restored, logits, wanted, _ = self._answer(shared, one)
        masks = logits[0].argmax(0).float() / max(1, one.episode.n_classes - 1)
        return side_by_side(torch.from_numpy(one.noisy), wanted[0, 0], restored[0, 0], masks)

    def _answer(self, shared: Shared, one: Diffused) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Restored image (1, 1, Y, X), logits (1, K, Y, X), clean image and classes."""
        given, wanted = tensor(one.noisy[None], self.device), tensor(one.episode.views[:1], self.device)
        truth = truth_of(one.episode.truth[:1], self.device)
        parts = shared.parts[self.name]
        assert isinstance(parts, nn.ModuleDict)
        looks = parts["level"](shared.look(given, ZOOMS), one.level)
        logits = label_all(parts["classes"], looks, truth, one.episode.painted, one.episode.n_classes)
        return parts["image"](looks, given, whole(given)), logits, wanted, truth


def draw_diffused(sources: Sources, level: float, rng: Rng) -> Diffused:
    """Draw an episode and diffuse its first view; level 0 leaves it as it is, 1 leaves nothing but noise."""
    episode = draw_episode(sources, rng)
    kept = float(np.cos(level * np.pi / 2))  # sqrt(a)
    noise = rng.standard_normal(episode.views[0].shape, dtype=np.float32)
    noisy = 0.5 + kept * (episode.views[0] - 0.5) + float(np.sqrt(1 - kept**2)) * 0.5 * noise
    return Diffused(episode, noisy.astype(np.float32), level)
