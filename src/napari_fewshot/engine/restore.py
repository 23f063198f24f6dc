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
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.predict import predict_plane, run
from napari_fewshot.tasks.degrade import bin_down

CROP_PX = 96
BATCH = 4
N_HELD_OUT = 6
LEARN_PX = 768  # side of the part of an image that is learned from when there is no target
HELD_OUT_SHARE = 0.25  # rows at the bottom that are only scored on

Pair = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Source:
    """What crops are drawn from, float32 on the unit scale of the input.

    ``given`` (Y, X) is the input and ``wanted`` (Y * factor, X * factor) its target; with ``noise`` (Y, X), the input
    is made anew for every crop from ``given`` and a piece of ``noise`` from elsewhere.
    """

    given: np.ndarray
    wanted: np.ndarray
    noise: np.ndarray | None = None


class OnImages:
    """Objective of a restoration: L1 + L2 (arXiv 2402.18286) on crops.

    Without a target the pretrained generator's own answer is the target, and what it took away, moved to another
    place, is the noise of the input: the noise of this very microscope, with its correlations. A super-resolution
    learns to get the image back from the image reduced (Shocher et al. 2018, zero-shot super-resolution).
    """

    def __init__(self, generator: Generator, pairs: Sequence[Pair], seed: int) -> None:
        self.generator = generator
        self.module = copy.deepcopy(generator.network)
        self.factor = generator.card.factor
        self.batch = BATCH
        align_px = generator.network.align_px
        self.crop_px = CROP_PX // align_px * align_px
        self.sources = [self._source(image, target) for image, target in pairs]
        rng = np.random.default_rng(seed)
        self.held_out: tuple[Tensor, Tensor] | None = None
        if all(len(s.given) >= 2 * self.crop_px for s in self.sources):  # else nothing can be spared
            self.held_out = self._stack([self._crop(rng, held_out=True) for _ in range(N_HELD_OUT)])

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        given, wanted = self._stack([self._crop(rng, held_out=False) for _ in range(self.batch)])
        answer = self.module(given)
        return {"l1": F.l1_loss(answer, wanted), "l2": F.mse_loss(answer, wanted)}

    def after_step(self) -> None:
        pass

    def listen(self, listener: Listener) -> bool:
        return False

    @torch.inference_mode()
    def score(self, module: Network) -> float | None:
        """Share of the input's L1 error that is gone in rows that are only scored on; None when there are too few rows."""
        if self.held_out is None:
            return None
        given, wanted = self.held_out
        untouched = float(F.l1_loss(_plain(given, self.factor), wanted))
        return 1 - float(F.l1_loss(module(given), wanted)) / max(untouched, 1e-6)

    def show(self, module: Network, listener: Listener) -> None:
        view = listener.view()
        if view is not None:
            shown = Generator(self.generator.card, module, self.generator.device)
            values, sure = predict_plane(shown, view.image, intensity=view.intensity, confidence=view.confidence)
            listener.preview(view, values, self.factor, sure)

    def shrink(self) -> bool:
        self.batch //= 2
        return self.batch >= 1

    def _source(self, image: np.ndarray, target: np.ndarray | None) -> Source:
        intensity = Intensity.measure(image)
        if target is not None:
            wanted_shape = tuple(n * self.factor for n in image.shape)
            if target.shape != wanted_shape:
                raise PictureError(
                    f"the target has shape {target.shape}, this model needs {wanted_shape} for an image of {image.shape}: "
                    "choose a target of that shape"
                )
            wanted = (target.astype(np.float64) - intensity.low) / intensity.span
            return Source(intensity.to_unit(image), _finite(wanted))
        unit = intensity.to_unit(_middle(image, LEARN_PX))
        if self.factor > 1:
            return Source(bin_down(unit, self.factor), _whole(unit, self.factor))
        clean = run(self.generator, unit)[0].float().cpu().numpy()
        return Source(clean, clean, unit - clean)

    def _crop(self, rng: np.random.Generator, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
        """Input (Y, X) and target (Y * factor, X * factor); held-out crops come from the rows kept for that."""
        source = self.sources[rng.integers(len(self.sources))]
        given, f = source.given, self.factor
        side = self.crop_px
        n_rows = len(given)
        first = n_rows - max(side, int(n_rows * HELD_OUT_SHARE)) if n_rows >= 2 * side else n_rows
        low, high = (first, given.shape[0]) if held_out else (0, first)
        y = _start(low, high, side, given.shape[0], rng)
        x = _start(0, given.shape[1], side, given.shape[1], rng)
        box = slice(y, y + side), slice(x, x + side)
        wanted = _filled(source.wanted[y * f : (y + side) * f, x * f : (x + side) * f], side * f)
        crop = _filled(given[box], side)
        if source.noise is not None:
            ny, nx = (_start(0, n, side, n, rng) for n in source.noise.shape)
            noise = _filled(source.noise[ny : ny + side, nx : nx + side], side)
            crop = crop + noise * rng.choice([-1, 1])
        return crop, wanted

    def _stack(self, crops: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
        device = self.generator.device
        given, wanted = (torch.from_numpy(np.stack(c)[:, None].astype(np.float32)) for c in zip(*crops, strict=True))
        return given.to(device, memory_format=torch.channels_last), wanted.to(device)


def _finite(image: np.ndarray) -> np.ndarray:
    return np.nan_to_num(image, nan=0.5, posinf=0.5, neginf=0.5).astype(np.float32)


def _plain(given: Tensor, factor: int) -> Tensor:
    return F.interpolate(given, scale_factor=factor, mode="bicubic") if factor > 1 else given


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    y, x = (max(0, (n - side) // 2) for n in image.shape)
    return image[y : y + side, x : x + side]


def _whole(image: np.ndarray, factor: int) -> np.ndarray:
    h, w = (n // factor * factor for n in image.shape)
    return image[:h, :w]


def _start(low: int, high: int, side: int, n: int, rng: np.random.Generator) -> int:
    """A random start of a window inside [low, high), moved as little as needed to stay inside [0, n)."""
    start = int(rng.integers(low, max(low, high - side) + 1))
    return max(0, min(start, n - side))


def _filled(crop: np.ndarray, side: int) -> np.ndarray:
    fill = [(0, side - n) for n in crop.shape]
    return np.pad(crop, fill, mode="symmetric") if any(b for _, b in fill) else crop
