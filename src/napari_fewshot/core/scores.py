"""How good a result is: intersection over union and calibration of classes, signal-to-noise ratio of images."""

from __future__ import annotations

import numpy as np

N_BINS = 15


def class_ious(found: np.ndarray, truth: np.ndarray) -> dict[int, float]:
    """Intersection over union of each class of ``truth`` (0 = unknown, left out), 0 to 1."""
    known, scores = truth > 0, {}
    for k in np.unique(truth[known]):
        a, b = (found == k) & known, truth == k
        scores[int(k)] = float(np.sum(a & b) / np.sum(a | b))
    return scores


def mean_iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the classes of ``truth`` (0 = unknown, left out) of intersection over union, 0 to 1."""
    scores = class_ious(found, truth)
    return float(np.mean(list(scores.values()))) if scores else 0.0


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB for grey values that span 1; infinite for equal images."""
    error = float(np.mean((image.astype(np.float64) - truth.astype(np.float64)) ** 2))
    return float(-10 * np.log10(error)) if error > 0 else float("inf")


def calibration_error(confidence: np.ndarray, is_right: np.ndarray) -> float:
    """Expected calibration error: how far, on average, a stated confidence is from the share that is right, 0 to 1.

    Guo et al. 2017, "On calibration of modern neural networks" (arXiv 1706.04599): equally wide bins of confidence,
    weighted by how many pixels they hold.

    Parameters
    ----------
    confidence : ndarray
        Any shape, 0 to 1.
    is_right : ndarray of bool
        The same shape.
    """
    sure, right = confidence.ravel().astype(np.float64), is_right.ravel().astype(np.float64)
    of_bin = np.clip((sure * N_BINS).astype(int), 0, N_BINS - 1)
    gaps = np.bincount(of_bin, sure - right, N_BINS)  # signed sums: over- and underconfidence cancel within a bin only
    return float(np.abs(gaps).sum() / max(len(sure), 1))
