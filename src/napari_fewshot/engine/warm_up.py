"""Runs what a first job needs once, so that the user does not wait for kernels to be chosen. Leaves nothing behind."""

from __future__ import annotations

import numpy as np

from napari_fewshot.core.job import Budget
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.predict import predict_plane

SIDE_PX = 512


def warm_up(segmenter: Generator) -> None:
    """Fit a head, take one training step and predict, on a toy picture of the size of a usual view."""
    y, x = np.indices((SIDE_PX, SIDE_PX))
    image = (np.sin(x / 5) + np.sin(y / 7)).astype(np.float32)
    strokes = np.zeros(image.shape, np.uint8)
    strokes[10:20, 10:200:9], strokes[200:210, 10:200:9] = 1, 2
    tuned = fine_tune_segment(segmenter, painting_of([image], [strokes]), Budget(steps=1))
    predict_plane(tuned, image)
