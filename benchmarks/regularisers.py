"""What might keep a fine-tuning from memorising beside what ships, for ablation.py: pixels nobody painted, restored from noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_fewshot.engine.heads.regress import regress
from napari_fewshot.engine.heads.solved import Solved
from napari_fewshot.engine.look import features_at, pad_to_grid, whole
from napari_fewshot.engine.network import look
from napari_fewshot.engine.segment import OnStrokes

RESTORED = 10.0  # weight of the error, of unit grey levels, beside the cross-entropy on strokes
N_PIXELS = 2048
NOISE = 0.05, 0.25  # standard deviation, of unit grey levels
RIDGE = 1e-4


@dataclass(frozen=True, eq=False)
class Restored:
    """The layers must still see enough to restore pixels that nobody painted (the "hybrid" of arXiv 2408.03433).

    The head that restores is solved in closed form on half of the pixels of a noisy crop and asked for the others.
    """

    objective: OnStrokes

    def __call__(self, solved: Solved, rng: np.random.Generator) -> dict[str, Tensor]:
        objective = self.objective
        plane = objective.query(objective.any_fold(rng), rng)[0]
        clean = plane.intensity.to_unit(plane.image)
        noisy = (clean + rng.normal(0, rng.uniform(*NOISE), clean.shape)).astype(np.float32)
        x = pad_to_grid(noisy, objective.module.align_px, str(solved.bias.device))
        yx = rng.integers(clean.shape, size=(N_PIXELS, 2))
        seen = features_at(
            look(objective.module.backbone, objective.module.zooms, x, whole(x)), torch.from_numpy(yx).to(x.device)
        )
        goal = torch.from_numpy(clean[tuple(yx.T)]).to(x)[:, None]
        half = N_PIXELS // 2
        share = torch.full_like(goal[:half], 1 / half)
        weight, bias = regress(seen[:half], goal[:half], share, torch.tensor(RIDGE).to(x))
        return {"restored": RESTORED * F.mse_loss(seen[half:] @ weight.T + bias, goal[half:])}
