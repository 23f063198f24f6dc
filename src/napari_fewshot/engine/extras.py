"""What a segmentation may learn from beside its strokes: likeness within classes, and objects pasted elsewhere. Adds to `OnStrokes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from napari_fewshot.core.job import Extras
from napari_fewshot.engine.heads.solved import Solved
from napari_fewshot.engine.look import Look, features_at, pad_to_grid, whole
from napari_fewshot.engine.patches import turned
from napari_fewshot.engine.pretexts.contrast import pixel_contrast, region_contrast
from napari_fewshot.engine.rank import Rank
from napari_fewshot.engine.segment import OnStrokes, Term, solver_of

CONTRAST, COPY_PASTE = 0.1, 0.5  # weights beside the cross-entropy on strokes
KNOWN_PER_CLASS = 48  # painted pixels of all images that those of a crop are compared with
N_UNPAINTED, SURE = 512, 0.9
SMALLEST_OBJECT_PX = 50  # smaller ones are specks
N_ASKED = 200
TEXTURE_PX = 1.0  # finer structure is that of the place, coarser that of the object
SOFT_PX = 0.7  # of the border of what is pasted

Rng = np.random.Generator


def terms_of(objective: OnStrokes, extras: Extras) -> list[Term]:
    """The terms that were asked for."""
    terms: list[Term] = []
    if extras.contrast:
        terms.append(Contrast(objective))
    if extras.copy_paste:
        terms.append(CopyPaste(objective))
    if extras.rank:
        terms.append(Rank(objective))
    return terms


@dataclass(frozen=True, eq=False)
class Contrast:
    """Pixels of a class attract each other and repel those of other classes, in all painted images and slices.

    Those painted, accepted dots of unpainted slices among them, under two contrasts (Wang et al., arXiv 2101.11939); and
    unpainted ones around them that the head is sure of are drawn to the mean of their class (Chaitanya et al., arXiv 2112.09645).
    """

    objective: OnStrokes

    def __call__(self, solved: Solved, rng: Rng) -> dict[str, Tensor]:
        objective, solver = self.objective, solver_of(self.objective.module)
        plane, yx, y = objective.query(objective.any_fold(rng), rng)
        looks = objective.looks(objective.two_contrasts(plane, rng))
        views = [_of_view(looks, v) for v in (0, 1)]
        known, classes = objective.known(KNOWN_PER_CLASS)
        z = self._unit(torch.cat([*(features_at(view, yx) for view in views), known]))
        across = pixel_contrast(z, torch.cat([y, y, classes]))
        anywhere = torch.from_numpy(rng.integers(plane.image.shape, size=(N_UNPAINTED, 2))).to(y.device)
        seen = features_at(views[0], anywhere)
        with torch.no_grad():
            sure, found = (solver.at(seen, solved) * solver.log_temperature.exp()).softmax(1).max(1)
        if not (sure >= SURE).any():
            return {"contrast": CONTRAST * across}
        means = F.normalize(F.one_hot(classes, objective.n_classes).to(z.dtype).T @ self._unit(known), dim=1)
        local = region_contrast(self._unit(seen[sure >= SURE]), found[sure >= SURE], means, torch.unique(classes))
        return {"contrast": CONTRAST * across, "local contrast": CONTRAST * local}

    def _unit(self, x: Tensor) -> Tensor:
        """Learned features (N, D) as unit vectors, centred and scaled as those of all painted pixels are."""
        known = self.objective.samples.x[:, : x.shape[1]]
        return F.normalize((x - known.mean(0)) / known.std(0).clamp(min=1e-6), dim=1)


@dataclass(frozen=True, eq=False)
class CopyPaste:
    """Objects grown from strokes are cut out, turned, pasted into another place with the texture there, and asked for.

    After tGAN (arXiv 2407.19544), which makes pairs of images and labels from what little is painted, by networks of its own.
    """

    objective: OnStrokes

    def __call__(self, solved: Solved, rng: Rng) -> dict[str, Tensor]:
        objective, solver = self.objective, solver_of(self.objective.module)
        cut = self._cut(solved, rng)
        if cut is None:
            return {}
        grey, mask, k = cut
        plane = objective.query(objective.any_fold(rng), rng)[0]
        unit = plane.intensity.to_unit(plane.image)
        if any(m > n for m, n in zip(mask.shape, unit.shape, strict=True)):
            return {}
        corner = [int(rng.integers(n - m + 1)) for n, m in zip(unit.shape, mask.shape, strict=True)]
        drawn = pasted(unit, grey, mask, corner)
        inside = rng.permutation(np.argwhere(mask))[:N_ASKED] + np.array(corner)
        looks = objective.looks(pad_to_grid(drawn, objective.module.align_px, str(solved.bias.device)))
        seen = features_at(looks, torch.from_numpy(inside).to(solved.bias.device))
        logits = solver.at(seen, solved) * solver.log_temperature.exp()
        asked = torch.full((len(seen),), k, device=seen.device)
        return {"copy-paste": COPY_PASTE * F.cross_entropy(logits, asked)}

    def _cut(self, solved: Solved, rng: Rng) -> tuple[np.ndarray, np.ndarray, int] | None:
        """Grey levels and mask (y, x) of what is found around a painted pixel, and its class; None when it fills the crop."""
        objective, solver = self.objective, solver_of(self.objective.module)
        plane, yx, y = objective.query(objective.any_fold(rng), rng)
        unit = plane.intensity.to_unit(plane.image)
        with torch.no_grad():
            x = pad_to_grid(unit, objective.module.align_px, str(y.device))
            found = solver.scores(objective.looks(x), whole(x), solved)[0].argmax(0).cpu().numpy()
        at, k = (part[int(rng.integers(len(y)))] for part in (yx, y))
        pieces, _ = ndimage.label(found[: unit.shape[0], : unit.shape[1]] == int(k))
        name = pieces[tuple(at.tolist())]
        if not name:
            return None
        mask = pieces == name
        if mask[[0, -1]].any() or mask[:, [0, -1]].any() or mask.sum() < SMALLEST_OBJECT_PX:
            return None
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        state = int(rng.integers(2**31))
        grey, mask = (turned(part, np.random.default_rng(state)) for part in (unit[box], mask[box]))
        return grey, mask, int(k)


def pasted(unit: np.ndarray, grey: np.ndarray, mask: np.ndarray, corner: Sequence[int]) -> np.ndarray:
    """A (Y, X) picture with an object (y, x) at ``corner``, whose finest structure is that of the place."""
    box = tuple(slice(start, start + n) for start, n in zip(corner, mask.shape, strict=True))
    place = unit[box]
    drawn = ndimage.gaussian_filter(grey, TEXTURE_PX) + place - ndimage.gaussian_filter(place, TEXTURE_PX)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), SOFT_PX)
    unit = unit.copy()
    unit[box] = soft * drawn + (1 - soft) * place
    return unit


def _of_view(looks: list[Look], view: int) -> list[Look]:
    return [[m.of(m.values[view : view + 1]) for m in one] for one in looks]
