"""Looks at parts of pictures with what is painted in mind: how good the answer is, where a stroke helps. Trains no layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.guide import CELL_PX, Look, Seen, best_spots
from napari_fewshot.core.intensity import Intensity, key_of
from napari_fewshot.core.job import Budget
from napari_fewshot.core.strokes import Painting, Strokes
from napari_fewshot.core.tiles import Tile, plan_tiles
from napari_fewshot.engine.classic import ClassicNetwork
from napari_fewshot.engine.edges import classes_of, probability_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.fitting import offsets_of
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import SILENT, Listener, StopRequested
from napari_fewshot.engine.look import features_at
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.painted import FeatureCache, Samples, sample
from napari_fewshot.engine.predict import empty_out, predict_plane
from napari_fewshot.engine.segment import solver_of

KNOWN_PER_CLASS = 200  # painted pixels of a class that others are compared with
SURE = 0.9  # calibrated confidence from which an answer counts as learned (Chaitanya et al., arXiv 2112.09645)
RIDGE = 0.03  # of the painted pixels' variance; about what pretraining learns
N_LABELS = 10  # weight of a label among those painted
STRANGE = 1.5  # novelty from which confidence counts less
N_DOTS = 40  # of a class in a look, 3 x 3 px each


@dataclass(frozen=True, eq=False)
class Answer:
    """Class numbers (Y, X), calibrated confidence (Y, X) float32, novelty (y, x) of each cell of `CELL_PX`, 1 = usual.

    ``cells`` (N, D) are the features at the middle of each cell, row by row, where they were asked for.
    """

    values: np.ndarray
    sure: np.ndarray
    novelty: np.ndarray
    cells: Tensor | None = None

    @property
    def doubt(self) -> np.ndarray:
        """(y, x) expected share of wrong pixels of each cell."""
        return F.avg_pool2d(torch.from_numpy(1 - self.sure)[None, None], CELL_PX, ceil_mode=True)[0, 0].numpy()

    @property
    def quality(self) -> float:
        """Expected share of right pixels; of what is unlike anything painted, confidence is believed less."""
        return float(np.mean((1 - self.doubt) * STRANGE / np.maximum(self.novelty, STRANGE)))


@dataclass(frozen=True, eq=False)
class Guide:
    """A generator whose head knows all strokes, and the painted pixels as its backbone sees them.

    ``samples`` is None where nothing is painted or the generator has no backbone; then nothing counts as new.
    """

    generator: Generator
    cache: FeatureCache
    samples: Samples | None = None
    scale: Tensor | None = None  # (D,) spread of each feature over the painted pixels
    typical: float = 1.0  # distance between painted pixels of different strokes of a class, median

    @classmethod
    def of(cls, generator: Generator, painting: Painting | None, cache: FeatureCache, seed: int = 0) -> Guide:
        """Fit the head of ``generator`` to all strokes; with less than two classes painted it stays as it is.

        Raises
        ------
        StrokesError, ModelError
            It has not seen any strokes, and less than two classes are painted now.
        """
        if generator.has_head and (painting is None or len(painting.classes) < 2):
            return cls(generator, cache)
        if painting is None:
            raise ModelError(f"'{generator.card.name}' has no classes yet: paint a few strokes of two classes first")
        fitted = fine_tune_segment(generator, painting, Budget(steps=0), seed=seed, cache=cache)
        if isinstance(fitted.network, ClassicNetwork):
            return cls(fitted, cache)
        samples = sample(fitted.network, painting, cache, seed).thinned(KNOWN_PER_CLASS)
        scale = samples.x.std(0).clamp(min=1e-6)
        return cls(fitted, cache, samples, scale, _typical_distance(samples, scale))

    def answer(
        self, pixels: np.ndarray, intensity: Intensity, listener: Listener = SILENT, with_cells: bool = False
    ) -> Answer:
        """Answer for a plane or a part of it (Y, X); ``intensity`` is that of the whole plane."""
        n_cells = tuple(-(-n // CELL_PX) for n in pixels.shape)
        if self.samples is None or self.scale is None:
            values, sure = predict_plane(
                self.generator, pixels, intensity=intensity, confidence=True, listener=listener
            )
            assert sure is not None
            sure[values == 0] = 1  # of there being nothing
            return Answer(values, sure, np.ones(n_cells, np.float32))
        numbers = np.array(self.generator.card.class_numbers)
        logits = torch.empty(len(numbers), *pixels.shape, device=self.scale.device)
        novelty = np.empty(n_cells, np.float32)
        kept = torch.empty(*n_cells, len(self.scale)) if with_cells else None
        network, key = self.generator.network, key_of(pixels, intensity)
        for tile in plan_tiles((pixels.shape[0], pixels.shape[1]), self.cache.tile_px, network.halo_px, _grid(network)):
            if listener.stopped():
                raise StopRequested
            looks = self.cache.looks_at(network, key, pixels, intensity, tile)
            cells = tuple(slice(s.start // CELL_PX, -(-s.stop // CELL_PX)) for s in tile.inner)
            with torch.no_grad():
                logits[:, *tile.inner] = solver_of(network)(looks, tile.keep())[0]
                seen = features_at(looks, _middles(tile, cells).to(self.scale.device))
            novelty[cells] = _nearest(seen, self.samples.x, self.scale).reshape(novelty[cells].shape).cpu()
            if kept is not None:
                kept[cells] = seen.reshape(*novelty[cells].shape, -1).cpu()
        found, logits = classes_of(logits, intensity.to_unit(pixels), offsets_of(self.generator))
        values, sure = numbers.astype(np.min_scalar_type(int(numbers.max())))[found], probability_of(found, logits)
        empty_out(pixels, values, sure)
        sure[values == 0] = 1
        return Answer(values, sure, novelty / self.typical, None if kept is None else kept.flatten(0, 1))

    def gain(self, answer: Answer) -> np.ndarray:
        """(y, x) what the label of each cell is expected to do for the cells that are unsure.

        Transductive experimental design (Yu et al. 2006): by how much one more label lowers the variance that ridge
        regression leaves at each cell, here weighted by doubt. So a place gains that is like many unsure ones and
        unlike what is painted; a lone oddity, or a border that is unsure wherever one paints, gains less.
        """
        if answer.cells is None or self.samples is None:
            return answer.doubt
        painted = self.samples.x.cpu()
        mean = painted.mean(0)
        spread = (painted - mean).T @ (painted - mean) / len(painted)  # (D, D)
        ridge = RIDGE * spread.trace().clamp(min=1e-6) * torch.eye(len(spread))
        white = torch.linalg.solve_triangular(
            torch.linalg.cholesky(spread + ridge), (answer.cells - mean).T, upper=False
        )
        alike = white.T @ white  # (N, N)
        doubt = torch.from_numpy(answer.doubt).flatten()
        gained = (alike**2 @ doubt) / (alike.diagonal() + N_LABELS) / len(doubt)
        return np.asarray(gained.sqrt().reshape(answer.doubt.shape))


def look_over(
    guide: Guide,
    look: Look,
    pixels: np.ndarray,
    intensity: Intensity,
    *,
    learn: bool = False,
    listener: Listener = SILENT,
) -> Seen:
    """How good the answer for a part of a plane is expected to be, and where in it a stroke would help most.

    Slices are recommended by quality as in Mem3D (Zhou et al., arXiv 2106.10686), whose learned quality head is replaced
    by calibrated confidence, and regions in them by `Guide.gain`.

    Parameters
    ----------
    pixels : ndarray
        (Y, X) of the look.
    intensity : Intensity
        Of the whole plane.
    learn : bool
        Also hand over confident pixels.
    """
    answer = guide.answer(pixels, intensity, listener, with_cells=True)
    dots = None
    if learn:
        found = confident_dots(answer.values, answer.sure, np.random.default_rng(0))
        dots = found.shifted(-look.box[0].start, -look.box[1].start)
    return Seen(look, answer.quality, best_spots(look, guide.gain(answer)), dots)


def confident_dots(values: np.ndarray, sure: np.ndarray, rng: np.random.Generator) -> Strokes:
    """Dots of 3 x 3 pixels that are all of one class and all surer than `SURE`, equally many of each class if possible."""
    labels = torch.from_numpy(np.where(sure >= SURE, values, 0).astype(np.float32))[None, None]
    inner = -F.max_pool2d(-labels, 3, 1, 1)[0, 0].numpy()
    whole = np.where(inner == F.max_pool2d(labels, 3, 1, 1)[0, 0].numpy(), inner, 0).astype(np.uint16)
    whole[[0, -1]], whole[:, [0, -1]] = 0, 0
    centres = []
    for k in np.unique(whole[whole > 0]):
        found = np.argwhere(whole == k)
        centres.append(rng.permutation(found)[:N_DOTS])
    painted = np.zeros(values.shape, np.uint16)
    for y, x in np.concatenate(centres) if centres else ():
        painted[y - 1 : y + 2, x - 1 : x + 2] = whole[y, x]
    return Strokes.of_plane(painted)


def _grid(network: Network) -> int:
    """Tiles begin on whole cells."""
    return int(np.lcm(network.align_px, CELL_PX))


def _middles(tile: Tile, cells: tuple[slice, ...]) -> Tensor:
    """(N, 2) the middle pixel of each cell of a tile, row by row, in pixels of its outer box."""
    rows = [
        (torch.arange(c.start, c.stop) * CELL_PX + CELL_PX // 2).clamp(max=inner.stop - 1) - outer.start
        for c, inner, outer in zip(cells, tile.inner, tile.outer, strict=True)
    ]
    return torch.cartesian_prod(*rows)


def _nearest(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """(N,) distance of each row of ``a`` from the nearest of ``b``, in units of ``scale`` per feature."""
    return torch.cdist(a / scale, b / scale).amin(1)


def _typical_distance(samples: Samples, scale: Tensor) -> float:
    """Median distance of a painted pixel from the nearest of another fold."""
    found = []
    for fold in torch.unique(samples.fold):
        here = samples.fold == fold
        if here.any() and (~here).any():
            found.append(_nearest(samples.x[here], samples.x[~here], scale))
    return max(float(torch.cat(found).median()), 1e-6) if found else 1.0
