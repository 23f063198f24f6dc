"""What might keep a fine-tuning from memorising beside what ships, for ablation.py: contrast of classes, and objects drawn in elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import View
from napari_fewshot.engine.look import Look, features_at, pad_to_grid, whole
from napari_fewshot.engine.network import look
from napari_fewshot.engine.painted import N_FOLDS
from napari_fewshot.engine.patches import crop, turned
from napari_fewshot.engine.pretexts.contrast import pixel_contrast, region_contrast
from napari_fewshot.engine.segment import OnStrokes, solver_of

BANK_PER_CLASS = 48  # painted pixels of all images that a crop's are compared with
N_UNPAINTED, SURE = 512, 0.9
OBJECT_PX, OBJECT_SIDE_PX = 50, 96  # smaller ones are specks, larger ones fill the crop
N_ASKED = 200
TEXTURE_PX = 1.0  # finer structure is that of the place, coarser that of the object

Rng = np.random.Generator
Term = Callable[[OnStrokes, Rng], Tensor]


def contrast_across_images(objective: OnStrokes, rng: Rng) -> Tensor:
    """Painted pixels of a crop, under two contrasts, attract their class and repel others, in all images (arXiv 2101.11939)."""
    plane, yx, y = objective._query(int(rng.integers(1, N_FOLDS)), rng)
    views = _looks(objective, objective._two_contrasts(plane, rng))
    of_views = [features_at([[m.of(m.values[v : v + 1]) for m in one] for one in views], yx) for v in (0, 1)]
    bank, classes = _bank(objective)
    z = _unit(objective, torch.cat([*of_views, bank]))
    return pixel_contrast(z, torch.cat([y, y, classes]))


@dataclass(frozen=True, eq=False)
class LocalContrast:
    """Pixels of unpainted images that the head is sure of are drawn to the mean of their class (arXiv 2112.09645).

    Parameters
    ----------
    images : sequence of ndarray
        (Y, X) planes of which nothing is painted.
    """

    images: Sequence[np.ndarray]

    def __call__(self, objective: OnStrokes, rng: Rng) -> Tensor:
        image = self.images[rng.integers(len(self.images))]
        unit = crop(Intensity.measure(image).to_unit(image), min(objective.crop_px, *image.shape), rng)
        x = pad_to_grid(unit, objective.module.align_px, str(objective.samples.x.device))
        yx = torch.from_numpy(rng.integers(unit.shape, size=(N_UNPAINTED, 2))).to(x.device)
        solver, head = solver_of(objective.module), objective.solve(objective.module)
        seen = features_at(objective.module.look(x), yx)
        sure, found = (solver.at(seen, head.solved) * solver.log_temperature.exp()).softmax(1).max(1)
        if not (sure >= SURE).any():
            return 0 * seen.sum()
        bank, classes = _bank(objective)
        means = F.normalize(F.one_hot(classes, objective.n_classes).float().T @ _unit(objective, bank), dim=1)
        z = _unit(objective, seen[sure >= SURE][:, : solver.n_features])
        return region_contrast(z, found[sure >= SURE], means, torch.unique(classes))


@dataclass(frozen=True, eq=False)
class DrawnIn:
    """Objects grown from strokes are cut out, turned, pasted into other places with the texture there, and asked for (after arXiv 2407.19544)."""

    objects: Sequence[tuple[np.ndarray, np.ndarray, int]]  # grey levels and mask (y, x), position of the class

    @classmethod
    def of(cls, objective: OnStrokes) -> DrawnIn:
        """What the head finds around painted pixels of the strokes that may be learned from."""
        head = objective.solve(objective.module)
        objects = []
        for fold in objective.folds:
            plane = fold.plane
            view = View((), (0, 0), plane.image, plane.intensity, plane.key)
            found = objective.segment_view(objective.module, view, head)[0]
            unit = plane.intensity.to_unit(plane.image)
            for k, number in enumerate(objective.painting.classes):
                pieces, _ = ndimage.label(found == number)
                painted = plane.strokes.yx[(fold.y == k) & (fold.fold != 0)]
                for name in np.unique(pieces[tuple(painted.T)]):
                    box = ndimage.find_objects(pieces, max_label=int(name))[-1] if name else None
                    mask = pieces[box] == name if box else np.zeros((1, 1), bool)
                    if box and mask.sum() >= OBJECT_PX and max(mask.shape) <= OBJECT_SIDE_PX:
                        objects.append((unit[box], mask, k))
        return cls(objects)

    def __call__(self, objective: OnStrokes, rng: Rng) -> Tensor:
        if not self.objects:
            return objective.samples.x.new_zeros(())
        plane, _, _ = objective._query(int(rng.integers(1, N_FOLDS)), rng)
        unit = plane.intensity.to_unit(plane.image)
        grey, mask, k = self.objects[rng.integers(len(self.objects))]
        state = int(rng.integers(2**31))
        grey, mask = (turned(part, np.random.default_rng(state)) for part in (grey, mask))
        if any(m > n for m, n in zip(mask.shape, unit.shape, strict=True)):
            return objective.samples.x.new_zeros(())
        y0, x0 = (int(rng.integers(n - m + 1)) for n, m in zip(unit.shape, mask.shape, strict=True))
        place = unit[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        drawn = ndimage.gaussian_filter(grey, TEXTURE_PX) + place - ndimage.gaussian_filter(place, TEXTURE_PX)
        soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
        unit = unit.copy()
        unit[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]] = soft * drawn + (1 - soft) * place
        inside = rng.permutation(np.argwhere(mask))[:N_ASKED] + np.array([y0, x0])
        looks = _looks(objective, pad_to_grid(unit, objective.module.align_px, str(objective.samples.x.device)))
        solver, samples = solver_of(objective.module), objective.samples
        given = samples.fold != 0
        solved = solver.solve(
            samples.x[given][:, : solver.n_features], samples.y[given], objective.n_classes, samples.strength
        )
        seen = features_at(looks, torch.from_numpy(inside).to(samples.x.device))
        logits = solver.at(seen, solved) * solver.log_temperature.exp()
        return F.cross_entropy(logits, torch.full((len(seen),), k, device=seen.device))


def _looks(objective: OnStrokes, x: Tensor) -> list[Look]:
    return look(objective.module.backbone, objective.module.zooms, x, whole(x))


def _bank(objective: OnStrokes) -> tuple[Tensor, Tensor]:
    """Learned features and classes of some painted pixels of all images, as they were when the head was last solved."""
    samples = objective.samples
    few = type(samples)(*(v[samples.fold != 0] for v in (samples.x, samples.y, samples.fold))).thinned(BANK_PER_CLASS)
    return few.x[:, : solver_of(objective.module).n_features], few.y


def _unit(objective: OnStrokes, x: Tensor) -> Tensor:
    """Learned features as unit vectors, centred and scaled as those of all painted pixels are."""
    known = objective.samples.x[:, : x.shape[1]]
    return F.normalize((x - known.mean(0)) / known.std(0).clamp(min=1e-6), dim=1)
