"""Fine-tuning a restoration: on pairs with a target, or on the image alone. Knows no files and no strokes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.restoring import Regions
from napari_fewshot.core.tiles import finer, middle_of, whole_of
from napari_fewshot.engine.alone import Alone, Example, coarse_tensor, find_partners
from napari_fewshot.engine.background import ZOOMS, Background
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.held_out import HeldOut, first_held_out
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.regions import wanted_of
from napari_fewshot.engine.residual import BACKGROUND
from napari_fewshot.engine.restorer import DENOISE, Restorer, is_seen_from_afar
from napari_fewshot.engine.risk import Risk
from napari_fewshot.engine.target import Pair
from napari_fewshot.engine.tiled import run
from napari_fewshot.tasks.degrade import bin_down

CROP_PX = 96
BATCH = 4
N_HELD_OUT = 12
LEARN_PX = 512  # side of the part of an image that is learned from when there is no target
RATE_PAIRS, RATE_ALONE = 2e-4, 5e-4
STANDARD_ERRORS = 2.0  # that are not believed of a gain, as the best of many looks is taken
RENEW_STEPS = 20  # between renewals of what an image without target would be without noise


@dataclass(frozen=True, eq=False)
class Paired:
    """An input (Y, X) on its unit scale with its target (Y * factor, X * factor) on the same, NaN where it is not known."""

    given: np.ndarray
    target: np.ndarray

    @classmethod
    def about(cls, given: np.ndarray, target: np.ndarray, side_px: int) -> Paired:
        """The part of a pair in which something is known, with ``side_px`` around it; both are equally large."""
        known = np.isfinite(target)
        if not known.any() or given.shape != target.shape:
            return cls(given, target)
        lines = [np.flatnonzero(known.any(axis)) for axis in (1, 0)]
        box = tuple(slice(max(0, at[0] - side_px), at[-1] + side_px + 1) for at in lines)
        return cls(given[box], target[box])

    def example(self, box: tuple[slice, slice], factor: int) -> Example:
        return Example(self.given[box], wanted=self.target[finer(box, factor)])


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples as tensors (B, 1, Y, X); ``known`` (B,) marks those with an answer, where ``is_wanted``, the others have a mask."""

    given: Tensor
    wanted: Tensor
    is_wanted: Tensor
    seen: Tensor
    mask: Tensor
    background: Tensor
    known: Tensor


class OnImages:
    """Objective of a restoration: L1 + L2 (arXiv 2402.18286) to answers that are known, L2 to pixels that were hidden.

    Pairs have an answer; for images without a target see `Alone`. A remover of backgrounds learns at the zooms it is asked
    at. It is never worse than the generator it started from as far as parts that nothing is learned from tell. It is judged by
    what users get there, with a target or by `Risk`; other tasks than denoising without a target by the error at hidden pixels.
    """

    def __init__(self, generator: Generator, pairs: Sequence[Pair], seed: int) -> None:
        self.generator = generator
        self.module = copy.deepcopy(generator.network)
        self.factor = generator.card.factor
        self.batch = BATCH
        self.steps = 0
        align_px = generator.network.align_px
        self.crop_px = CROP_PX // align_px * align_px
        self.alone = [self._alone(image) for image, target in pairs if target is None]
        find_partners(self.alone)
        self.is_alone = len(self.alone) == len(pairs)
        self.rate = RATE_ALONE if self.is_alone else RATE_PAIRS
        self.sources: list[Paired | Alone] = [*self.alone]
        self._hidden: Batch | None = None
        self._judge: HeldOut | Risk | None = None
        if not self.is_alone:
            self._take_pairs([(image, target) for image, target in pairs if target is not None])
            return
        if generator.card.task == DENOISE:
            self._judge = Risk(self.alone, seed)
        else:
            rng = np.random.default_rng(seed)
            self._hidden = self._batch([self._example(rng, 1, True) for _ in range(N_HELD_OUT)])

    @property
    def holds_out(self) -> bool:
        """Whether there is something that is only scored on."""
        return self._hidden is not None or self._judge is not None

    @cached_property
    def errors(self) -> np.ndarray | None:
        """Those of the generator that was started from."""
        return self._errors(self.generator.network)

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        batch = self._batch([self._example(rng, self.steps + i, False) for i in range(self.batch)])
        self.steps += 1
        answer = self.module(batch.given)
        terms: dict[str, Tensor] = {}
        if bool(batch.known.any()):
            off = ((answer - batch.wanted) * batch.is_wanted)[batch.known]
            n = batch.is_wanted[batch.known].sum().clamp_min(1)
            terms = {"l1": off.abs().sum() / n, "l2": off.square().sum() / n}
        if not bool(batch.known.all()):
            terms["hidden"] = self._misses(answer, batch)[~batch.known].mean()
        return terms

    def after_step(self) -> None:
        """Renew one estimate after the other."""
        if self.alone and self.steps % RENEW_STEPS == 0:
            source = self.alone[self.steps // RENEW_STEPS % len(self.alone)]
            now = Generator(self.generator.card, self.module, self.generator.device)
            source.renew(_restored(now, source.given))

    def listen(self, listener: Listener) -> bool:
        return False

    def score(self, module: Network) -> float | None:
        """Share of the squared error that is gone in what is only scored on; None when there is nothing of it.

        It is compared with that of the generator that was started from. Without a target noise is a part of it, and what is
        certain of the gain counts, two standard errors less.
        """
        if self._judge is not None and not self.steps:
            return 0.0  # a look takes long: the first one would be at what is started from
        errors = self._errors(module)
        if self.errors is None or errors is None:
            return None
        gain = self.errors - errors
        doubt = STANDARD_ERRORS * gain.std(ddof=1) / len(gain) ** 0.5 if self.is_alone else 0.0
        return float(
            (gain.mean() - doubt) / max(np.abs(self.errors).mean(), 1e-9)
        )  # an estimated error may be negative

    def show(self, module: Network, listener: Listener) -> None:
        view = listener.view()
        if view is not None:
            shown = Generator(self.generator.card, module, self.generator.device)
            values, sure = predict_plane(shown, view.image, intensity=view.intensity, confidence=view.confidence)
            listener.preview(view, values, self.factor, sure)

    def shrink(self) -> bool:
        self.batch //= 2
        return self.batch >= 1

    def _alone(self, image: np.ndarray) -> Alone:
        unit = Intensity.measure(image).to_unit(image[middle_of(image.shape, LEARN_PX)])
        return Alone.of_plane(unit, _restored(self.generator, unit), self.factor, self._has_background)

    def _take_pairs(self, pairs: Sequence[tuple[np.ndarray, np.ndarray | Regions]]) -> None:
        """Learn from the upper rows of pairs, and judge by the others."""
        planes, firsts = [], []
        for image, known in pairs:
            intensity, first = Intensity.measure(image), first_held_out(len(image), max(ZOOMS))
            target = wanted_of(image, known, self._has_background) if isinstance(known, Regions) else known
            told = np.isfinite(target)
            if isinstance(known, Regions) and not (told[:first].any() and told[first:].any()):
                first = len(image)  # all of a small region is needed
            wanted = ((target.astype(np.float64) - intensity.low) / intensity.span).astype(np.float32)
            seen = np.isfinite(image).repeat(self.factor, 0).repeat(self.factor, 1)
            wanted = np.where(seen & np.isfinite(wanted), wanted, np.nan)
            planes.append((image, wanted))
            firsts.append(first)
            self.sources += self._paired(image[:first], wanted[: first * self.factor], intensity, image.shape)
            if isinstance(known, Regions):  # of the rest nothing is to change
                now = Restorer(self.generator, image, intensity).whole()
                others = np.where(np.isfinite(wanted), np.nan, now)
                self.sources += self._paired(image[:first], others[:first], intensity, image.shape)
        judge = HeldOut(self.generator, planes, firsts)
        self._judge = None if judge.is_empty else judge

    def _paired(
        self, image: np.ndarray, wanted: np.ndarray, intensity: Intensity, shape: tuple[int, ...]
    ) -> Iterator[Paired]:
        """What is learned from an image and its target on the unit scale, as a network is shown them."""
        if not self._has_background:
            yield Paired.about(intensity.to_unit(image), wanted, self.crop_px // 2)
            return
        if not is_seen_from_afar(self.generator.card, shape):
            yield self._levelled(intensity.to_unit(image), wanted)
            return
        background = Background(self.generator, image, intensity)
        for zoom, own in background.scales.items():
            if not own.is_flat:
                small = background.reduced(whole_of(image.shape), zoom)
                fill = [(0, -n % zoom) for n in image.shape]
                coarse = bin_down(np.pad(wanted, fill, mode="edge"), zoom)
                yield self._levelled(own.to_unit(small), (coarse - np.float32(own.low)) / np.float32(own.span))

    def _levelled(self, given: np.ndarray, wanted: np.ndarray) -> Paired:
        """A target without the background of its image has any level: that of what is answered now is soonest learned."""
        box = middle_of(given.shape, LEARN_PX)
        off = _restored(self.generator, given[box]) - wanted[box]
        known = np.isfinite(off)
        return Paired(given, wanted + np.float32(off[known].mean() if known.any() else 0.0))

    @property
    def _has_background(self) -> bool:
        return self.generator.card.task == BACKGROUND

    def _example(self, rng: np.random.Generator, turn: int, held_out: bool) -> Example:
        """A crop of any source; one that is held out is compared where nothing is learned from."""
        source = self.sources[rng.integers(len(self.sources))]
        box = self._box(source.given.shape, rng)
        if isinstance(source, Paired):
            return source.example(box, self.factor)
        return source.hidden(box, rng, held_out) if turn % 2 else source.known(box, rng)

    def _box(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
        """A crop at a random place."""
        starts = [int(rng.integers(max(0, n - self.crop_px) + 1)) for n in shape]
        y, x = (slice(a, min(a + self.crop_px, n)) for a, n in zip(starts, shape, strict=True))
        return y, x

    def _batch(self, examples: Sequence[Example]) -> Batch:
        wanted = self._stacked([e.wanted for e in examples], self.crop_px * self.factor)
        return Batch(
            self._stacked([e.given for e in examples], self.crop_px),
            wanted.nan_to_num(),
            wanted.isfinite(),
            self._stacked([e.seen for e in examples], self.crop_px),
            self._stacked([e.mask for e in examples], self.crop_px),
            self._stacked([e.background for e in examples], self.crop_px),
            torch.tensor([e.wanted is not None for e in examples], device=self.generator.device),
        )

    def _stacked(self, planes: Sequence[np.ndarray | None], side: int) -> Tensor:
        filled = [np.zeros((side, side)) if p is None else _filled(p, side) for p in planes]
        stacked = torch.from_numpy(np.stack(filled)[:, None].astype(np.float32))  # (B, 1, Y, X)
        return stacked.to(self.generator.device, memory_format=torch.channels_last)

    def _misses(self, answer: Tensor, batch: Batch) -> Tensor:
        """Mean squared error at the hidden pixels of each example, (B,)."""
        error = (coarse_tensor(answer, self.factor) + batch.background - batch.seen) ** 2 * batch.mask
        return error.sum((1, 2, 3)) / batch.mask.sum((1, 2, 3)).clamp_min(1)

    @torch.inference_mode()
    def _errors(self, module: Network) -> np.ndarray | None:
        """What a score is made of, squared errors of held-out parts: of what users get, or at hidden pixels."""
        if self._hidden is not None:
            errors: np.ndarray = self._misses(module(self._hidden.given), self._hidden).cpu().double().numpy()
            return errors
        if self._judge is None:
            return None
        return self._judge.errors(Generator(self.generator.card, module, self.generator.device))


def _restored(generator: Generator, unit: np.ndarray) -> np.ndarray:
    answer: np.ndarray = run(generator, unit)[0].float().cpu().numpy()
    return answer


def _filled(crop: np.ndarray, side: int) -> np.ndarray:
    fill = [(0, side - n) for n in crop.shape]
    return np.pad(crop, fill, mode="symmetric") if any(b for _, b in fill) else crop
