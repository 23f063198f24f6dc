"""Writes losses, scores and sample pictures of a training for TensorBoard. Knows no pretext."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from napari_fewshot.core.errors import ComputeError
from napari_fewshot.engine.checkpoint import check_room
from napari_fewshot.engine.listen import SILENT, Listener

EVERY = 20  # steps between losses that are written
LOG_BYTES = 1_000_000


class Logbook:
    """A folder that ``tensorboard --logdir`` shows; where it can no longer be written, it says so and writes nothing more.

    Raises
    ------
    ComputeError
        TensorBoard is not installed.
    StorageError
        The folder cannot be written.
    """

    def __init__(self, folder: Path, listener: Listener = SILENT) -> None:
        check_log(folder)
        self.folder, self.listener = folder, listener
        self.writer: Any = _writer_class()(folder)

    def losses(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Terms of a step; every twentieth is written, since reading one off waits for the device."""
        if step % EVERY == 1:
            values = {k: float(v.detach()) for k, v in terms.items()}
            self._write(lambda writer: _add(writer, "loss", step, values))

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        self._write(lambda writer: _add(writer, "score", step, scores))
        self._write(lambda writer: writer.flush())

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """(Y, X) float32, 0 to 1, by title."""
        for title, picture in pictures.items():
            self._write(lambda writer: writer.add_image(title, picture, step, dataformats="HW"))  # noqa: B023

    def close(self) -> None:
        self._write(lambda writer: writer.close())

    def _write(self, write: Callable[[Any], None]) -> None:
        try:
            if self.writer is not None:
                write(self.writer)
        except OSError as error:
            self.writer = None
            self.listener.note(
                f"cannot write into {self.folder} ({error.strerror or error}): the training goes on without a log"
            )


def check_log(folder: Path) -> None:
    """Find out before the training whether it can be logged; raises as `Logbook` does."""
    check_room(folder, LOG_BYTES)
    _writer_class()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ComputeError(
            "writing a log needs TensorBoard: pip install 'napari-fewshot[pretrain]', or leave --log out"
        ) from None
    return SummaryWriter


def _add(writer: Any, kind: str, step: int, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        writer.add_scalar(f"{kind}/{name}", value, step)
