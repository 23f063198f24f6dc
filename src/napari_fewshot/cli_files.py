"""Picture files as the command line names them: listed from folders, opened together, read whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import Picture

Files = Annotated[list[Path], Parameter(consume_multiple=True)]
KEPT_OPEN = 100  # files; systems allow some hundred in all


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and for each folder the picture files in it, sorted."""
    from napari_fewshot.batch.formats import format_of

    found: list[Path] = []
    for path in paths:
        if path.is_dir() and format_of(path) is None:
            found += sorted(p for p in path.iterdir() if format_of(p) is not None)
        else:
            found.append(path)
    return found


def read_whole(path: Path) -> np.ndarray:
    """All planes of a picture file, (..., Y, X)."""
    from napari_fewshot.batch.formats import open_picture

    with open_picture(path) as opened:
        picture = opened.picture
        planes = [picture.take_plane(index) for index in picture.plane_indices()]
    return np.stack(planes).reshape(picture.shape)  # (n, Y, X) -> (..., Y, X)


def open_pictures(
    paths: Sequence[Path], files: ExitStack, note: Callable[[str], None], kept_open: int = KEPT_OPEN
) -> list[Picture]:
    """Open all pictures lazily, however many there are; those that cannot be read are named and left out.

    The first ``kept_open`` stay open; processes must share none, since a file has one position for all of them.
    """
    from napari_fewshot.batch.formats import open_picture

    pictures: list[Picture] = []
    for path in paths:
        try:
            if len(pictures) < kept_open:
                pictures.append(files.enter_context(open_picture(path)).picture)
            else:
                with open_picture(path) as opened:
                    picture = opened.picture
                    planes = Reopened(path, picture.data.shape, picture.dtype)
                pictures.append(Picture(planes, picture.axes, picture.name))
        except PictureError as error:
            note(f"left out: {error}")
    return pictures


class Reopened:
    """The array of a picture file that is opened anew for each read."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype

    def __getitem__(self, where: Any) -> np.ndarray:
        from napari_fewshot.batch.formats import open_picture

        with open_picture(self.path) as opened:
            return np.asarray(opened.picture.data[where])
