"""Fine-tuning on strokes: the closed-form head at once, then the backbone's layers by episodes made of the strokes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.job import View
from napari_fewshot.core.operating import NeverMiss
from napari_fewshot.core.strokes import PaintedPlane, Painting
from napari_fewshot.core.tiles import Box
from napari_fewshot.engine.calibrate import calibrating_factor, pixels_around
from napari_fewshot.engine.device import at_once
from napari_fewshot.engine.edges import classes_of, probability_of
from napari_fewshot.engine.folds import HELD_OUT, N_FOLDS, folds_of
from napari_fewshot.engine.heads.classes import ClassesHead
from napari_fewshot.engine.heads.solved import Around, Solved
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.look import Look, pad_to_grid, whole
from napari_fewshot.engine.network import Network, look
from napari_fewshot.engine.painted import FeatureCache, Samples, fingerprint, sample
from napari_fewshot.engine.patches import recontrasted
from napari_fewshot.engine.predict import empty_out
from napari_fewshot.engine.ridge import ALL_FOLDS, JUDGED_PER_CLASS, UNSEEN, point_on, ridge, weighed

MARGIN = 0.02  # of IoU on the few strokes held out: less may be chance, and what was pretrained knows more pictures
CROP_PX = 128
AGREEMENT = 0.5  # weight of equal answers on unpainted pixels under another contrast
ANCHOR = 1.0  # weight that keeps the layers near the pretrained ones

Term = Callable[[Solved, np.random.Generator], dict[str, Tensor]]
"""Further terms of a step, already weighted, by a head solved on learned features of strokes that may be learned from."""


@dataclass(frozen=True, eq=False)
class Head:
    """A solved head and how well its like did on strokes held out; ``score`` None when too few are painted to judge."""

    solved: Solved
    strength: float
    score: float | None
    offsets: Tensor | None = None  # (K,) added to the logits, for a class of which little may be missed


@dataclass(frozen=True, eq=False)
class Fold:
    """Painted pixels of one plane with the part of the strokes they belong to; ``y`` are positions in the sorted classes."""

    plane: PaintedPlane
    y: np.ndarray
    fold: np.ndarray


class OnStrokes:
    """Objective of a segmentation: what `fit` minimises, scores and shows.

    The head is always the closed-form one. A step solves it on some strokes and asks it for others, as in
    pretraining, so that the layers cannot simply memorise; unpainted pixels must be answered alike under another
    contrast; the weights are held near the pretrained ones. Strokes of fold 0 never enter a step.

    Parameters
    ----------
    network : Network
        Is trained as it is, not a copy of it.
    """

    def __init__(self, network: Network, painting: Painting, seed: int, cache: FeatureCache) -> None:
        self.module = network
        self.module.head.requires_grad_(False)
        self.pretrained = [p.detach().clone() for p in network.backbone.parameters()]
        self.seed, self.cache, self.crop_px = seed, cache, CROP_PX
        self.never_miss: NeverMiss | None = None
        self.more: Sequence[Term] = ()
        self.is_tuned, self.base = False, fingerprint(network)
        self.solved: tuple[tuple[float, ...], Head] | None = None
        self.calibrated: Head | None = None
        self._take(painting)

    def solve(self, module: Network) -> Head:
        """The head for all strokes; how much its parts count, is chosen on strokes held out."""
        state = fingerprint(module)
        if self.solved is None or self.solved[0] != state:
            self.solved, self.calibrated = (state, self._solve(module)), None
        return self.solved[1]

    def calibrate(self, module: Network) -> Head:
        """The same, as sure as it is right: the answers stay. It takes longer than to solve the head."""
        head = self.solve(module)
        self.calibrated = self.calibrated or self._calibrate(module, head)
        return self.calibrated

    def _solve(self, module: Network) -> Head:
        solver = solver_of(module)
        self.pixels = pixels_around(module, self.painting, self.cache, self.seed)
        samples = sample(module, self.painting, self.cache, self.seed)
        self.samples = samples = weighed(solver, samples, self.n_classes, self.pixels)
        judged, strength = samples.thinned(JUDGED_PER_CLASS), samples.strength

        def fitted() -> Solved:
            with torch.no_grad():
                solved = solver.solve(samples.x, samples.y, self.n_classes, strength, self.pixels, samples.voices)
                return solver.expecting(solved, self.pixels.x)

        held_out = partial(held_out_score, solver, judged, self.n_classes, self.pixels)
        jobs: list[Callable[[], Any]] = [fitted, held_out]
        solved, score = at_once(jobs, self.samples.x.device.type)
        return Head(solved, strength, score, self._offsets(module, solved, strength))

    def _offsets(self, module: Network, solved: Solved, strength: float) -> Tensor | None:
        """What the wish never to miss a class adds to logits; layers that were trained are asked for fold 0 only."""
        if self.never_miss is None:
            return None
        learn = ridge(solver_of(module), self.samples, self.n_classes, solved, self.pixels)
        asked = UNSEEN if self.is_tuned or fingerprint(module) != self.base else ALL_FOLDS
        point = point_on(self.samples, self.painting.classes, learn, self.never_miss, asked)
        return None if point is None else torch.from_numpy(point.offsets(self.painting.classes)).to(solved.bias.device)

    def _calibrate(self, module: Network, head: Head) -> Head:
        solver, judged, pixels = solver_of(module), self.samples.thinned(JUDGED_PER_CLASS), self.pixels

        def learn(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
            solved = solver.solve(x, y, self.n_classes, head.strength, pixels, judged.voices)
            return partial(solver.at, solved=replace(solved, prior=head.solved.prior))

        scale = float(solver.log_temperature.exp())
        with torch.no_grad():
            factor = calibrating_factor(learn, judged, pixels.x, partial(solver.at, solved=head.solved), scale)
            solved = solver.remembering(head.solved, pixels.x).times(factor)
        return replace(head, solved=solved, offsets=self._offsets(module, solved, head.strength))

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        solver, samples = solver_of(self.module), self.samples
        asked_fold = self.any_fold(rng)
        plane, yx, y = self.query(asked_fold, rng)
        given = (samples.fold != HELD_OUT) & (samples.fold != asked_fold)
        if not _has_all(samples.y[given], self.n_classes):
            given = samples.fold != HELD_OUT
        learned = samples.x[given][:, : solver.n_features]  # layers change nothing of hand-made ones
        solved = solver.solve(learned, samples.y[given], self.n_classes, samples.strength)
        x = self.two_contrasts(plane, rng)
        looks = self.looks(x)
        logits = solver.scores(looks, whole(x), solved)  # (2, K, Y, X)
        asked = logits[:, :, yx[:, 0], yx[:, 1]]  # (2, K, N)
        counts = torch.bincount(y, minlength=self.n_classes).clamp(min=1)
        pixels = F.cross_entropy(asked, y.expand(2, -1), weight=len(y) / (self.n_classes * counts.to(asked.dtype)))
        goal = logits[0].detach().softmax(0)
        agreement = F.kl_div(logits[1].log_softmax(0), goal, reduction="none").sum(0).mean()
        moved = zip(self.module.backbone.parameters(), self.pretrained, strict=True)
        anchor = torch.stack([((p - q) ** 2).sum() for p, q in moved]).sum()
        terms = {"strokes": pixels, "agreement": AGREEMENT * agreement, "anchor": ANCHOR * anchor}
        for more in self.more:
            terms |= more(solved, rng)
        return terms

    def after_step(self) -> None:
        pass

    def listen(self, listener: Listener) -> bool:
        painting = listener.painting()
        if painting is None:
            return False
        painting.check()
        self._take(painting)
        return True

    def score(self, module: Network) -> float | None:
        return self.solve(module).score

    def show(self, module: Network, listener: Listener) -> None:
        """Segment the view with the head for all strokes."""
        view = listener.view()
        if view is not None:
            head = self.calibrate(module) if view.confidence else self.solve(module)
            listener.preview(view, *self.segment_view(module, view, head))

    def segment_view(self, module: Network, view: View, head: Head) -> tuple[np.ndarray, int, np.ndarray | None]:
        """Classes as they were painted (Y, X), the factor 1, and the confidence if wanted."""
        classes = np.array(self.painting.classes, np.min_scalar_type(max(self.painting.classes)))
        h, w = view.image.shape
        logits = head.solved.bias.new_empty((len(classes), h, w))

        def answer(looks: list[Look], box: Box, target: Box) -> None:
            with torch.no_grad():
                logits[:, *target] = solver_of(module).scores(looks, box, head.solved)[0]

        for tile in self.cache.tiles_of(module, view.image):
            looks = self.cache.looks_at(module, view.key, view.image, view.intensity, tile)
            parts = zip(_halves(tile.keep()), _halves(tile.inner), strict=True)
            at_once([partial(answer, looks, *part) for part in parts], self.samples.x.device.type)
        found, logits = classes_of(logits, view.intensity.to_unit(view.image), head.offsets)
        values, sure = classes[found], probability_of(found, logits) if view.confidence else None
        empty_out(view.image, values, sure)
        return values, 1, sure

    def shrink(self) -> bool:
        """Look at smaller tiles, train on smaller crops."""
        self.crop_px //= 2
        return self.cache.shrink()

    def _take(self, painting: Painting) -> None:
        self.painting = painting
        self.solved, self.calibrated = None, None
        self.n_classes = len(painting.classes)
        classes = np.array(painting.classes)
        self.folds = [
            Fold(p, np.searchsorted(classes, p.strokes.classes), folds_of(p.strokes, self.seed))
            for p in painting.planes
            if len(p.strokes)
        ]

    @staticmethod
    def any_fold(rng: np.random.Generator) -> int:
        """One of those that may be learned from."""
        return int(rng.integers(1, N_FOLDS))

    def query(self, asked_fold: int, rng: np.random.Generator) -> tuple[PaintedPlane, Tensor, Tensor]:
        """A crop around a stroke of ``asked_fold`` (any training stroke if there is none) and its training pixels."""
        there = [f for f in self.folds if np.any(f.fold == asked_fold)] or [
            f for f in self.folds if np.any(f.fold != HELD_OUT)
        ]
        part = there[rng.integers(len(there))]
        pixels = np.flatnonzero(part.fold == asked_fold)
        pixels = pixels if len(pixels) else np.flatnonzero(part.fold != HELD_OUT)
        of_class = part.y[pixels]
        wanted = rng.choice(np.unique(of_class))
        y0, x0 = part.plane.strokes.yx[rng.choice(pixels[of_class == wanted])]
        box = tuple(
            slice(a := int(np.clip(c - self.crop_px // 2, 0, max(0, n - self.crop_px))), min(n, a + self.crop_px))
            for c, n in zip((y0, x0), part.plane.image.shape, strict=True)
        )
        crop = PaintedPlane("", part.plane.image[box], part.plane.strokes, part.plane.intensity)
        yx = part.plane.strokes.yx - np.array([s.start for s in box])
        inside = np.all((yx >= 0) & (yx < crop.image.shape), 1) & (part.fold != HELD_OUT)
        device = self.samples.x.device
        return crop, torch.from_numpy(yx[inside]).to(device), torch.from_numpy(part.y[inside]).to(device)

    def looks(self, x: Tensor) -> list[Look]:
        """What the layers see of crops (B, 1, Y, X), without what is hand-made."""
        return look(self.module.backbone, self.module.zooms, x, whole(x))

    def known(self, per_class: int) -> tuple[Tensor, Tensor]:
        """Learned features (N, D) and classes (N,) of some painted pixels, as they were when the head was last solved."""
        few = self.samples.learned_from().thinned(per_class)
        return few.x[:, : solver_of(self.module).n_features], few.y

    def two_contrasts(self, plane: PaintedPlane, rng: np.random.Generator) -> Tensor:
        """The crop and the crop as another microscope would show it, (2, 1, Y, X)."""
        unit = plane.intensity.to_unit(plane.image)
        device = str(self.samples.x.device)
        return torch.cat(
            [pad_to_grid(u, self.module.align_px, device) for u in (unit, recontrasted(unit, rng, invert=0.0))]
        )


def held_out_score(solver: ClassesHead, samples: Samples, n_classes: int, pixels: Around) -> float | None:
    """Mean IoU on the strokes of fold 0 of a head solved on the others, and on ``pixels`` around; None when either lacks a class."""
    out = samples.fold == HELD_OUT
    if not (_has_all(samples.y[out], n_classes) and _has_all(samples.y[~out], n_classes)):
        return None
    with torch.no_grad():
        x, y = samples.x[~out], samples.y[~out]
        solved = solver.solve(x, y, n_classes, samples.strength, pixels, samples.voices)
        found, true = solver.at(samples.x[out], solved).argmax(1), samples.y[out]
    # every class counts as if equally much of it were painted
    share = 1.0 / torch.bincount(true, minlength=n_classes).float()
    confusion = torch.zeros(n_classes, n_classes, device=true.device)
    confusion.index_put_((true, found), share[true], accumulate=True)
    hit = confusion.diagonal()
    return float((hit / (confusion.sum(0) + confusion.sum(1) - hit)).mean())


def _halves(box: Box) -> list[Box]:
    middle = (box[0].start + box[0].stop) // 2
    return [(slice(box[0].start, middle), box[1]), (slice(middle, box[0].stop), box[1])]


def _has_all(y: Tensor, n_classes: int) -> bool:
    return bool((torch.bincount(y, minlength=n_classes) > 0).all())


def solver_of(module: Network) -> ClassesHead:
    """The closed-form head of a segmentation network."""
    assert isinstance(module.head, ClassesHead)
    return module.head
