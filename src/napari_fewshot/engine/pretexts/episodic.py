"""Few-shot episodes: strokes on one view, the closed-form head fitted inside the graph, the loss on all pixels of two views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, gaussian_laplace
from torch import Tensor

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.simulate import Brush, simulate_strokes
from napari_fewshot.engine.device import place
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.look import features_at, whole
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.patches import Patches, crop, recontrasted, turned
from napari_fewshot.engine.pretexts.scenes import draw_scene
from napari_fewshot.tasks import TASKS
from napari_fewshot.tasks.degrade import add_noise, bin_down

SIDE_PX = 192
SCENE_PX = 288  # two views of it overlap, but differ
LABELLED_SHARE = 0.5  # of the episodes, where there are labels
DRAWN_SHARE = 0.6  # of the others; the rest are clusters
MAX_PAINTED = 512  # painted pixels per episode that enter the head
VALIDATION_SEED = 20240228

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images of one kind with dense labels 0 .. K - 1, all planes (Y, X)."""

    name: str
    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Episode:
    """Two views (2, Y, X) float32, their classes (2, Y, X) 1 .. K, and the strokes on the first (Y, X)."""

    views: np.ndarray
    truth: np.ndarray
    painted: np.ndarray
    n_classes: int


class Episodic:
    """Learn features from which a linear head, fitted on a few strokes, labels this picture and the next.

    Parameters
    ----------
    net : dict
        The ``net`` entry of a card.
    patches, held_out : Patches
        Unlabelled patches; their clusters make label maps.
    labelled : sequence of LabelledSet
        Sets with real labels; without any, all episodes come from clusters.
    start : dict of str to Tensor or None
        State of a pretrained backbone.
    """

    def __init__(
        self, net: dict[str, Any], patches: Patches, held_out: Patches, labelled: Sequence[LabelledSet] = (),
        batch: int = 2, start: dict[str, Tensor] | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        self.module = place(Network(net, TASKS["segment"].zooms, "classes"), device)
        if start is not None:
            self.module.backbone.load_state_dict(start)
        self.patches, self.labelled, self.batch, self.device = patches, labelled, batch, device
        rng = np.random.default_rng(VALIDATION_SEED)
        self.validation = [_from_clusters(held_out, rng) for _ in range(8)]
        self.validation += [self._draw(rng) for _ in range(8)]

    def losses(self, rng: Rng) -> dict[str, Tensor]:
        answers = [self._answer(self.module, self._draw(rng)) for _ in range(self.batch)]
        pixels = torch.stack([F.cross_entropy(logits, truth, ignore_index=-1) for logits, truth in answers]).mean()
        overlap = torch.stack([1 - _soft_iou(logits, truth) for logits, truth in answers]).mean()
        return {"pixels": pixels, "overlap": overlap}

    def after_step(self) -> None:
        pass

    def listen(self, listener: Listener) -> bool:
        return False

    @torch.inference_mode()
    def score(self, module: Network) -> float | None:
        """Mean IoU over all pixels of both views of fixed episodes."""
        return float(np.mean([_hard_iou(*self._answer(module, e)) for e in self.validation]))

    def show(self, module: Network, listener: Listener) -> None:
        pass

    def shrink(self) -> bool:
        self.batch //= 2
        return self.batch >= 1

    def _answer(self, module: Network, episode: Episode) -> tuple[Tensor, Tensor]:
        """Logits (2, K, Y, X) of both views and their classes (2, Y, X)."""
        assert isinstance(module.head, ClassesHead)
        x = torch.from_numpy(episode.views[:, None]).to(self.device, memory_format=torch.channels_last)
        truth = torch.from_numpy(episode.truth.astype(np.int64) - 1).to(self.device)
        looks = module.look(x)
        yx = torch.from_numpy(np.argwhere(episode.painted)).to(self.device)
        y = truth[0, yx[:, 0], yx[:, 1]]
        weight, bias = module.head.solve(features_at([a.first() for a in looks], yx), y, episode.n_classes)
        return module.head.scores(looks, whole(x), weight, bias), truth

    def _draw(self, rng: Rng) -> Episode:
        if len(self.labelled) and rng.random() < LABELLED_SHARE:
            episode = _from_labels(self.labelled[int(rng.integers(len(self.labelled)))], rng)
            if episode is not None:
                return episode
        return _from_scene(rng) if rng.random() < DRAWN_SHARE else _from_clusters(self.patches, rng)


def _from_scene(rng: Rng) -> Episode:
    """Two views of one drawn scene."""
    while True:
        both = np.stack(draw_scene(SCENE_PX, rng)).astype(np.float32)
        views = [turned(crop(both, SIDE_PX, rng), rng) for _ in range(2)]
        if np.sum(np.bincount(views[0][1].astype(int).ravel()) > 60) >= 2:
            return _episode(views, rng)


def _from_labels(source: LabelledSet, rng: Rng) -> Episode | None:
    """Two crops of different images of a set; None when no stroke of two classes fits the first."""
    first = int(rng.integers(len(source.images)))
    second = int(rng.integers(len(source.images)))
    for _ in range(10):
        views = [_labelled_crop(source, i, rng) for i in (first, second)]
        counts = np.bincount(views[0][1].astype(int).ravel())
        if np.sum(counts > 60) >= 2:
            return _episode(views, rng)
    return None


def _labelled_crop(source: LabelledSet, i: int, rng: Rng) -> np.ndarray:
    image, labels = source.images[i], source.labels[i]
    both = np.stack([Intensity.measure(image).to_unit(image), labels + np.float32(1)])
    if min(image.shape) >= 2 * SIDE_PX and rng.random() < 0.5:
        both = np.stack([bin_down(both[0], 2), both[1][: image.shape[0] // 2 * 2 : 2, : image.shape[1] // 2 * 2 : 2]])
    return turned(crop(both, SIDE_PX, rng), rng)


def _from_clusters(patches: Patches, rng: Rng) -> Episode:
    """Two views of one patch whose classes are clusters of a few simple features."""
    while True:
        patch = patches.draw(256, rng, shrink=0.5)
        classes = _clusters(patch, int(rng.integers(2, 5)), rng)
        both = np.stack([patch, classes])
        views = [turned(crop(both, SIDE_PX, rng), rng) for _ in range(2)]
        if np.sum(np.bincount(views[0][1].astype(int).ravel()) > 60) >= 2:
            return _episode(views, rng)


def _clusters(patch: np.ndarray, n: int, rng: Rng) -> np.ndarray:
    """(Y, X) classes 1 .. n by k-means of one to three random features of smoothed intensity, edges, blobs, texture."""
    sigma = float(np.exp(rng.uniform(np.log(1.0), np.log(6.0))))
    smooth = gaussian_filter(patch, sigma)
    choices = [
        smooth,
        gaussian_gradient_magnitude(patch, sigma),
        gaussian_laplace(patch, sigma),
        np.sqrt(np.maximum(gaussian_filter((patch - gaussian_filter(patch, 1)) ** 2, 2 * sigma), 0)),
    ]
    use = [choices[0]] if rng.random() < 0.4 else [choices[i] for i in rng.permutation(4)[: rng.integers(1, 4)]]
    values = np.stack([(f - f.mean()) / (f.std() + 1e-6) for f in use], -1).reshape(-1, len(use))
    centres = values[rng.choice(len(values), n, replace=False)]
    for _ in range(6):
        nearest = ((values[::7, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack(
            [values[::7][nearest == k].mean(0) if np.any(nearest == k) else centres[k] for k in range(n)]
        )
    classes = ((values[:, None] - centres) ** 2).sum(-1).argmin(1).reshape(patch.shape)
    return (classes + 1).astype(np.float32)


def _episode(views: list[np.ndarray], rng: Rng) -> Episode:
    """Strokes on the first view; both views lose some quality and change contrast, each in its own way."""
    images = np.stack([_spoiled(v[0], rng) for v in views])
    truth = np.stack([v[1] for v in views]).astype(np.int32)
    kept = [k for k in np.unique(truth[0]) if np.sum(truth[0] == k) > 60]
    truth = np.select([truth == k for k in kept], list(range(1, len(kept) + 1)), 0)
    brush = Brush(int(rng.integers(15, 61)), int(rng.integers(1, 5)))
    painted = simulate_strokes(truth[0], int(rng.integers(1, 8)), int(rng.integers(2**31)), brush)
    at = np.flatnonzero(painted)
    if len(at) > MAX_PAINTED:
        painted.ravel()[rng.choice(at, len(at) - MAX_PAINTED, replace=False)] = 0
    return Episode(images, truth, painted, len(kept))


def _spoiled(image: np.ndarray, rng: Rng) -> np.ndarray:
    if rng.random() < 0.3:
        image = add_noise(np.clip(image, 0, 1.2), rng)
    image = recontrasted(image, rng, invert=0.0)
    return Intensity.measure(image).to_unit(image)


def _soft_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean soft Jaccard over the classes that occur; pixels of class -1 do not count."""
    valid = (truth >= 0).unsqueeze(1)
    p = logits.softmax(1) * valid
    t = F.one_hot(truth.clamp(min=0), logits.shape[1]).permute(0, 3, 1, 2) * valid  # (B, Y, X, K) -> (B, K, Y, X)
    hit, both = (p * t).sum((0, 2, 3)), (p + t).sum((0, 2, 3))
    return (hit / (both - hit).clamp(min=1))[t.sum((0, 2, 3)) > 0].mean()


def _hard_iou(logits: Tensor, truth: Tensor) -> float:
    return float(_soft_iou(F.one_hot(logits.argmax(1), logits.shape[1]).permute(0, 3, 1, 2) * 1e4, truth))
