"""Writes losses, scores and sample pictures of a training for TensorBoard. Knows no pretext."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from napari_fewshot.core.errors import ComputeError

EVERY = 20  # steps between losses that are written


class Logbook:
    """A folder that ``tensorboard --logdir`` shows.

    Raises
    ------
    ComputeError
        TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ComputeError(
                "writing a log needs TensorBoard: pip install 'napari-fewshot[pretrain]', or leave --log out"
            ) from None
        self.writer: Any = SummaryWriter(folder)

    def losses(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Terms of a step; every twentieth is written, since reading one off waits for the device."""
        if step % EVERY == 1:
            self._write("loss", step, {k: float(v.detach()) for k, v in terms.items()})

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        self._write("held out", step, scores)
        self.writer.flush()

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """(Y, X) float32, 0 to 1, by title."""
        for title, picture in pictures.items():
            self.writer.add_image(title, picture, step, dataformats="HW")

    def close(self) -> None:
        self.writer.close()

    def _write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)
