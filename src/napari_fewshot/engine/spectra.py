"""What spectra the inputs of a pretraining have: drawn and spoiled as in training, summed up for the model's card."""

from __future__ import annotations

import numpy as np

from napari_fewshot.core.spectrum import Spectrum, spectrum, typical
from napari_fewshot.engine.patches import Patches
from napari_fewshot.tasks import TASKS

SIDE_PX = 192
N_DRAWS = 64


def training_spectrum(task: str, factor: int, patches: Patches, rng: np.random.Generator) -> tuple[Spectrum, Spectrum]:
    """Mean and spread of the spectra of what a model of ``task`` is given in training, for `ModelCard.spectrum`."""
    corrupt = TASKS[task].corrupt
    found = []
    for _ in range(N_DRAWS):
        patch = patches.draw(SIDE_PX * factor, rng)
        found.append(spectrum(corrupt(patch, factor, rng)[0] if corrupt is not None else patch))
    return typical(found)
