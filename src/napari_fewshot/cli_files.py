"""Picture files as the command line names them: listed from folders, read whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

Files = Annotated[list[Path], Parameter(consume_multiple=True)]


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
