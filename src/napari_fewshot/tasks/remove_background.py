"""Noise-and-background removal: takes away noise together with uneven illumination, charging and curtains."""

import numpy as np

from napari_fewshot.tasks.degrade import add_noise, background_field
from napari_fewshot.tasks.task import Task

REDUCED = (1, 2, 4)  # a background is told from planes that are reduced, in which the noise is as much weaker


def corrupt(
    clean: np.ndarray, factor: int, rng: np.random.Generator, support: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """(Y, X) clean -> (noisy on its support and an uneven background, clean)."""
    seen = 0.8 * (clean + np.float32(support)) + background_field(clean.shape, rng)
    return seen + (add_noise(seen, rng) - seen) / np.float32(rng.choice(REDUCED)), clean


REMOVE_BACKGROUND = Task(
    name="remove_background",
    title="Noise and background removal",
    hint="Removes noise together with uneven illumination, charging streaks and curtaining; the mean level is kept.",
    answer="image",
    models={"em-background": 1},
    zooms=(1, 4),
    corrupt=corrupt,
)
