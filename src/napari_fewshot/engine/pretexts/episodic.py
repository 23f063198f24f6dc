"""Few-shot episodes: strokes on one view, the closed-form head fitted inside the graph, the loss on all pixels of two views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.look import Look, features_at, whole
from napari_fewshot.engine.pretexts.episodes import Episode, draw_episode, from_clusters
from napari_fewshot.engine.pretexts.pretext import Pretext, Rng, Shared, Sources, grey, side_by_side, tensor
from napari_fewshot.tasks import TASKS

ZOOMS = TASKS["segment"].zooms
N_JUDGED = 8  # episodes of each kind


class Episodes:
    """The episodes of one step; guards that they are looked at once, however many pretexts learn from them."""

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self.episodes = tuple(episodes)
        self._seen: list[list[Look]] = []

    def seen(self, shared: Shared, device: str) -> list[list[Look]]:
        """What the backbone sees of both views of each episode; in one batch, which keeps a GPU busy."""
        if not self._seen:
            together = shared.look(tensor(np.concatenate([e.views for e in self.episodes]), device), ZOOMS)
            starts = range(0, 2 * len(self.episodes), 2)
            self._seen = [[[m.of(m.values[i : i + 2]) for m in one] for one in together] for i in starts]
        return self._seen


class Episodic(Pretext):
    """Learn features from which a linear head, fitted on a few strokes, labels this picture and the next."""

    name = "episodic"
    material = "episodes"
    uses_labels = True

    def __init__(self, device: str = "cpu", batch: int = 2) -> None:
        self.device, self.batch = device, batch

    def parts(self, widths: tuple[int, ...]) -> nn.Module:
        return ClassesHead(sum(widths) * len(ZOOMS))

    def draw(self, sources: Sources, step: int, rng: Rng) -> Episodes:
        return Episodes([draw_episode(sources, rng) for _ in range(self.batch)])

    def judged_on(self, held_out: Sources, rng: Rng) -> list[Episode]:
        clusters = [from_clusters(held_out.patches, rng) for _ in range(N_JUDGED)]
        return clusters + [draw_episode(held_out, rng) for _ in range(N_JUDGED)]

    def losses(self, shared: Shared, drawn: Episodes) -> dict[str, Tensor]:
        head = shared.parts[self.name]
        pixels, overlap = [], []
        for looks, episode in zip(drawn.seen(shared, self.device), drawn.episodes, strict=True):
            truth = truth_of(episode.truth, self.device)
            logits = label_all(head, looks, truth, episode.painted, episode.n_classes)
            pixels.append(F.cross_entropy(logits, truth, ignore_index=-1))
            overlap.append(1 - soft_iou(logits, truth))
        return {"pixels": torch.stack(pixels).mean(), "overlap": torch.stack(overlap).mean()}

    def scores(self, shared: Shared, judged: list[Episode]) -> dict[str, float]:
        """Mean IoU over all pixels of both views of fixed episodes."""
        return {"episode mean IoU": float(np.mean([hard_iou(*self._answer(shared, e)) for e in judged]))}

    def sample(self, shared: Shared, judged: list[Episode]) -> np.ndarray:
        logits, truth = self._answer(shared, judged[-1])
        return side_by_side(torch.from_numpy(judged[-1].views[1]), grey(truth[1]), grey(logits[1].argmax(0)))

    def _answer(self, shared: Shared, episode: Episode) -> tuple[Tensor, Tensor]:
        truth = truth_of(episode.truth, self.device)
        looks = shared.look(tensor(episode.views, self.device), ZOOMS)
        return label_all(shared.parts[self.name], looks, truth, episode.painted, episode.n_classes), truth


def truth_of(classes: np.ndarray, device: str) -> Tensor:
    """(B, Y, X) classes 0 .. K, 0 unknown -> -1 .. K - 1."""
    return torch.from_numpy(classes.astype(np.int64) - 1).to(device)


def label_all(head: nn.Module, looks: list[Look], truth: Tensor, painted: np.ndarray, n_classes: int) -> Tensor:
    """Fit the head on the strokes on the first picture, answer for all: logits (B, K, Y, X)."""
    assert isinstance(head, ClassesHead)
    yx = torch.from_numpy(np.argwhere(painted)).to(truth.device)
    y = truth[0, yx[:, 0], yx[:, 1]]
    solved = head.solve(features_at(looks, yx), y, n_classes)
    return head.scores(looks, whole(truth[:, None]), solved)


def soft_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean soft Jaccard over the classes that occur; pixels of class -1 do not count."""
    valid = (truth >= 0).unsqueeze(1)
    p = logits.softmax(1) * valid
    t = F.one_hot(truth.clamp(min=0), logits.shape[1]).permute(0, 3, 1, 2) * valid  # (B, Y, X, K) -> (B, K, Y, X)
    hit, both = (p * t).sum((0, 2, 3)), (p + t).sum((0, 2, 3))
    return (hit / (both - hit).clamp(min=1))[t.sum((0, 2, 3)) > 0].mean()


def hard_iou(logits: Tensor, truth: Tensor) -> float:
    """Mean Jaccard of the most likely classes."""
    return float(soft_iou(F.one_hot(logits.argmax(1), logits.shape[1]).permute(0, 3, 1, 2) * 1e4, truth))
