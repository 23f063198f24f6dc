"""Fine-tuning a restoration: on pairs with a target, or on the image alone. Knows no files and no strokes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine.alone import Alone, Example, coarse_tensor, find_partners
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.residual import BACKGROUND
from napari_fewshot.engine.tiled import run

CROP_PX = 96
BATCH = 4
N_HELD_OUT = 12
LEARN_PX = 512  # side of the part of an image that is learned from when there is no target
HELD_OUT_SHARE = 0.25  # rows at the bottom that are only scored on
RATE_PAIRS, RATE_ALONE = 2e-4, 5e-4
STANDARD_ERRORS = 2.0  # that are not believed of a gain, as the best of many looks is taken
RENEW_STEPS = 20  # between renewals of what an image without target would be without noise

Pair = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Paired:
    """An input (Y, X) on its unit scale with its target (Y * factor, X * factor) on the same."""

    given: np.ndarray
    target: np.ndarray


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples as tensors (B, 1, Y, X); ``known`` (B,) marks those with an answer, the others have a mask."""

    given: Tensor
    wanted: Tensor
    seen: Tensor
    mask: Tensor
    background: Tensor
    known: Tensor


class OnImages:
    """Objective of a restoration: L1 + L2 (arXiv 2402.18286) to answers that are known, L2 to pixels that were hidden.

    Pairs have an answer; for images without a target see `Alone`. It is never worse than the generator it started from as
    far as held-out rows tell: without a target a score counts what is certain of the gain, two standard errors less.
    """

    def __init__(self, generator: Generator, pairs: Sequence[Pair], seed: int) -> None:
        self.generator = generator
        self.module = copy.deepcopy(generator.network)
        self.factor = generator.card.factor
        self.batch = BATCH
        self.steps = 0
        align_px = generator.network.align_px
        self.crop_px = CROP_PX // align_px * align_px
        self.sources: list[Paired | Alone] = [self._source(image, target) for image, target in pairs]
        self.alone = [s for s in self.sources if isinstance(s, Alone)]
        find_partners(self.alone)
        self.is_alone = len(self.alone) == len(self.sources)
        self.rate = RATE_ALONE if self.is_alone else RATE_PAIRS
        rng = np.random.default_rng(seed)
        self.held_out: Batch | None = None
        if self.is_alone or all(len(s.given) >= 2 * self.crop_px for s in self.sources):  # else nothing can be spared
            self.held_out = self._batch([self._example(rng, 1, True) for _ in range(N_HELD_OUT)])
            self.errors = self._errors_to_beat()

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        batch = self._batch([self._example(rng, self.steps + i, False) for i in range(self.batch)])
        self.steps += 1
        answer = self.module(batch.given)
        terms: dict[str, Tensor] = {}
        if bool(batch.known.any()):
            found, wanted = answer[batch.known], batch.wanted[batch.known]
            terms = {"l1": F.l1_loss(found, wanted), "l2": F.mse_loss(found, wanted)}
        if not bool(batch.known.all()):
            terms["hidden"] = self._misses(answer, batch)[~batch.known].mean()
        return terms

    def after_step(self) -> None:
        """Renew one estimate after the other."""
        if self.alone and self.steps % RENEW_STEPS == 0:
            source = self.alone[self.steps // RENEW_STEPS % len(self.alone)]
            now = Generator(self.generator.card, self.module, self.generator.device)
            source.renew(run(now, source.given)[0].float().cpu().numpy())

    def listen(self, listener: Listener) -> bool:
        return False

    @torch.inference_mode()
    def score(self, module: Network) -> float | None:
        """Share of the error that is gone in rows that are only scored on; None when there are too few rows.

        With targets the error is L1 and compared with the input's. Without, it is the squared error at hidden pixels,
        noise included, and compared with that of the generator that was started from.
        """
        if self.held_out is None:
            return None
        gain = self.errors - self._errors(module)
        certain = gain.mean() - STANDARD_ERRORS * gain.std() / len(gain) ** 0.5 if self.is_alone else gain.mean()
        return float(certain / self.errors.mean().clamp_min(1e-9))

    def show(self, module: Network, listener: Listener) -> None:
        view = listener.view()
        if view is not None:
            shown = Generator(self.generator.card, module, self.generator.device)
            values, sure = predict_plane(shown, view.image, intensity=view.intensity, confidence=view.confidence)
            listener.preview(view, values, self.factor, sure)

    def shrink(self) -> bool:
        self.batch //= 2
        return self.batch >= 1

    def _source(self, image: np.ndarray, target: np.ndarray | None) -> Paired | Alone:
        intensity = Intensity.measure(image)
        if target is None:
            unit = intensity.to_unit(_middle(image, LEARN_PX))
            estimate = run(self.generator, unit)[0].float().cpu().numpy()
            return Alone.of_plane(unit, estimate, self.factor, self.generator.card.task == BACKGROUND)
        wanted_shape = tuple(n * self.factor for n in image.shape)
        if target.shape != wanted_shape:
            raise PictureError(
                f"the target has shape {target.shape}, this model needs {wanted_shape} for an image of {image.shape}: "
                "choose a target of that shape"
            )
        wanted = (target.astype(np.float64) - intensity.low) / intensity.span
        return Paired(intensity.to_unit(image), _finite(wanted))

    def _example(self, rng: np.random.Generator, turn: int, held_out: bool) -> Example:
        """A crop of any source; held-out ones come from the rows kept for that, where there are enough."""
        pool = [s for s in self.sources if isinstance(s, Paired)] if held_out and not self.is_alone else self.sources
        source = pool[rng.integers(len(pool))]
        box = self._box(source.given.shape, rng, held_out)
        if isinstance(source, Alone):
            return source.hidden(box, rng) if turn % 2 else source.known(box, rng)
        f = self.factor
        return Example(source.given[box], wanted=source.target[tuple(slice(s.start * f, s.stop * f) for s in box)])

    def _box(self, shape: tuple[int, ...], rng: np.random.Generator, held_out: bool) -> tuple[slice, slice]:
        side, (n_rows, n_columns) = self.crop_px, shape
        can_spare = n_rows >= 2 * side
        first = n_rows - max(side, int(n_rows * HELD_OUT_SHARE)) if can_spare else n_rows
        low, high = (first, n_rows) if held_out and can_spare else (0, first)
        y, x = _start(low, high, side, n_rows, rng), _start(0, n_columns, side, n_columns, rng)
        return slice(y, min(y + side, n_rows)), slice(x, min(x + side, n_columns))

    def _batch(self, examples: Sequence[Example]) -> Batch:
        fine = self.crop_px * self.factor
        return Batch(
            self._stacked([e.given for e in examples], self.crop_px),
            self._stacked([e.wanted for e in examples], fine),
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
    def _errors_to_beat(self) -> Tensor:
        assert self.held_out is not None
        if self.is_alone:
            return self._errors(self.module)
        return (_plain(self.held_out.given, self.factor) - self.held_out.wanted).abs().mean((1, 2, 3))

    def _errors(self, module: Network) -> Tensor:
        """What a score is made of, for each held-out example: the error at hidden pixels, or L1."""
        assert self.held_out is not None
        answer = module(self.held_out.given)
        if self.is_alone:
            return self._misses(answer, self.held_out)
        return (answer - self.held_out.wanted).abs().mean((1, 2, 3))


def _finite(image: np.ndarray) -> np.ndarray:
    return np.nan_to_num(image, nan=0.5, posinf=0.5, neginf=0.5).astype(np.float32)


def _plain(given: Tensor, factor: int) -> Tensor:
    return F.interpolate(given, scale_factor=factor, mode="bicubic") if factor > 1 else given


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    y, x = (max(0, (n - side) // 2) for n in image.shape)
    return image[y : y + side, x : x + side]


def _start(low: int, high: int, side: int, n: int, rng: np.random.Generator) -> int:
    """A random start of a window inside [low, high), moved as little as needed to stay inside [0, n)."""
    start = int(rng.integers(low, max(low, high - side) + 1))
    return max(0, min(start, n - side))


def _filled(crop: np.ndarray, side: int) -> np.ndarray:
    fill = [(0, side - n) for n in crop.shape]
    return np.pad(crop, fill, mode="symmetric") if any(b for _, b in fill) else crop
