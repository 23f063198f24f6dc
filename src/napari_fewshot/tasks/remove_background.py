"""Noise-and-background removal: takes away noise together with uneven illumination, charging and curtains."""

import numpy as np

from napari_fewshot.tasks.degrade import add_noise, background_field
from napari_fewshot.tasks.task import Task


def corrupt(clean: np.ndarray, factor: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(Y, X) clean -> (noisy on an uneven background, clean)."""
    return add_noise(0.8 * clean + background_field(clean.shape, rng), rng), clean


REMOVE_BACKGROUND = Task(
    name="remove_background",
    title="Noise and background removal",
    hint="Removes noise together with uneven illumination, charging streaks and curtaining; the mean level is kept.",
    answer="image",
    models={"em-background": 1},
    zooms=(1, 4),
    corrupt=corrupt,
)
