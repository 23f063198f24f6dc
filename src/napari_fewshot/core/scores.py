"""How good a result is: mean intersection over union of classes, peak signal-to-noise ratio of images."""

from __future__ import annotations

import numpy as np


def mean_iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the classes of ``truth`` (0 = unknown, left out) of intersection over union, 0 to 1."""
    known = truth > 0
    scores = []
    for k in np.unique(truth[known]):
        a, b = (found == k) & known, truth == k
        scores.append(np.sum(a & b) / np.sum(a | b))
    return float(np.mean(scores)) if scores else 0.0


def psnr(image: np.ndarray, truth: np.ndarray, span: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB for grey values that span ``span``; infinite for equal images."""
    error = float(np.mean((image.astype(np.float64) - truth.astype(np.float64)) ** 2))
    return float(10 * np.log10(span**2 / error)) if error > 0 else float("inf")
