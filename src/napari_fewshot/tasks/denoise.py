"""Denoising: the same picture with the noise of dose and detector taken away."""

import numpy as np

from napari_fewshot.tasks.degrade import add_noise
from napari_fewshot.tasks.task import Task


def corrupt(clean: np.ndarray, factor: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(Y, X) clean -> (noisy, clean)."""
    return add_noise(clean, rng), clean


DENOISE = Task(
    name="denoise",
    title="Denoising",
    hint="Removes shot noise, detector noise and scan-line noise; grey levels and size stay as they are.",
    answer="image",
    models={"em-denoise": 1},
    corrupt=corrupt,
)
