"""Super-resolution: the same field of view with 2 or 4 times as many pixels along Y and X, or sharper on the same ones."""

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_fewshot.tasks.degrade import add_noise, bin_down
from napari_fewshot.tasks.task import Task

SAME_GRID_BLUR_PX = 0.6, 1.6  # sigma


def corrupt(
    clean: np.ndarray, factor: int, rng: np.random.Generator, support: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """(Y, X) clean -> (blurred, binned and noisy (Y / factor, X / factor), clean)."""
    fine = clean + np.float32(support)
    blurred = gaussian_filter(fine, rng.uniform(*SAME_GRID_BLUR_PX) if factor == 1 else rng.uniform(0.3, 0.6) * factor)
    return add_noise(bin_down(blurred, factor), rng), fine


SUPER_RESOLVE = Task(
    name="super_resolve",
    title="Super-resolution",
    hint="Makes an image with 2 or 4 times as many pixels along Y and X, placed exactly over its source, or sharpens it as it is.",
    answer="image",
    models={"em-superres-x2": 2, "em-superres-x4": 4, "em-sharpen": 1},
    corrupt=corrupt,
)
