"""Denoising: the same picture with the noise of dose and detector taken away."""

import numpy as np

from napari_fewshot.tasks.degrade import add_noise, blur
from napari_fewshot.tasks.task import Task


def corrupt(
    clean: np.ndarray, factor: int, rng: np.random.Generator, support: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """(Y, X) clean -> (noisy, noiseless), at times a little out of focus: a denoiser does not sharpen."""
    seen = clean + np.float32(support)
    if rng.random() < 0.3:
        seen = blur(seen, rng.uniform(0.2, 0.7), rng)
    return add_noise(seen, rng), seen


DENOISE = Task(
    name="denoise",
    title="Denoising",
    hint="Removes shot noise, detector noise and scan-line noise; grey levels and size stay as they are.",
    answer="image",
    models={"em-denoise": 1},
    corrupt=corrupt,
)
