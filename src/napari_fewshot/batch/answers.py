"""What is told of a plane beside its answer, on the way to the disk. Knows no format and no worker."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import PlaneIndex
from napari_fewshot.core.restoring import Report


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a plane.

    Parameters
    ----------
    values : ndarray
        (Y * factor, X * factor).
    report : Report or None
        Of its restoration.
    uncertainty : ndarray or None
        float32, like ``values``: one standard deviation, in the units of the image.
    """

    values: np.ndarray
    report: Report | None = None
    uncertainty: np.ndarray | None = None


class PutAside:
    """Planes that are written after others. Guards that they lie on the disk meanwhile, in a file that nobody sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._is_plane: list[bool] = []

    def put(self, plane: np.ndarray | None) -> None:
        """Add a plane; None stands for an empty one."""
        self._is_plane.append(plane is not None)
        if plane is None:
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder)
        np.save(self._file, plane)

    def __bool__(self) -> bool:
        return self._file is not None

    def planes(self) -> Iterator[np.ndarray | None]:
        """All planes, in the order they came."""
        assert self._file is not None
        self._file.seek(0)
        for is_plane in self._is_plane:
            yield np.load(self._file) if is_plane else None

    def close(self) -> None:
        """Throw the planes away."""
        if self._file is not None:
            self._file.close()


class Beside:
    """What is told of the planes of one file beside their answers. Guards that each uncertainty keeps its plane.

    Parameters
    ----------
    folder : Path
        Where the result will be, with room for what is put aside.
    """

    def __init__(self, folder: Path) -> None:
        self.reports: list[tuple[PlaneIndex, Report]] = []
        self.uncertainty = PutAside(folder)

    def take(self, index: PlaneIndex, answer: np.ndarray | Answer | None) -> np.ndarray | None:
        """The answer alone, for what is told beside it is kept; None is that for an empty plane."""
        if not isinstance(answer, Answer):
            self.uncertainty.put(None)
            return answer
        self.uncertainty.put(answer.uncertainty)
        if answer.report is not None:
            self.reports.append((index, answer.report))
        return answer.values

    @property
    def numbers(self) -> list[dict[str, Any]]:
        """The reports as plain values."""
        return [{"plane": list(index), **asdict(report)} for index, report in self.reports]


def without_gaps(planes: Iterator[np.ndarray | None], source: Path) -> Iterator[np.ndarray]:
    """Planes like the others, of NaN or 0, where there is None."""
    n_before, empty = 0, None
    for values in planes:
        if values is None:
            if empty is None:
                n_before += 1
            else:
                yield empty
            continue
        if empty is None:
            empty = np.full_like(values, np.nan if values.dtype.kind == "f" else 0)
            yield from [empty] * n_before
        yield values
    if n_before and empty is None:
        raise PictureError(f"{source} has no finite pixel: check how it was exported")
