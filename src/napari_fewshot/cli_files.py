"""Picture files as the command line names them: listed from folders, paired, opened together, read whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from napari_fewshot.core.errors import FewshotError, PictureError, StrokesError
from napari_fewshot.core.picture import Picture

Files = Annotated[list[Path], Parameter(consume_multiple=True)]
KEPT_OPEN = 100  # files; systems allow some hundred in all
NAMED_FAULTS = 5


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and for each folder the picture files in it, sorted; hidden ones are left out."""
    from napari_fewshot.batch.formats import format_of

    found: list[Path] = []
    for path in paths:
        if path.is_dir() and format_of(path) is None:
            found += sorted(p for p in path.iterdir() if format_of(p) is not None and not p.name.startswith("."))
        else:
            found.append(path)
    return found


def pair_painted(images: Sequence[Path], painted: Sequence[Path]) -> list[Path]:
    """For each image its painted file: the one with its name, or with a name that begins so (a.tif, a-strokes.tif).

    Where no name tells, the files belong together in their order.

    Raises
    ------
    PictureError
        A file without a partner, or with several.
    """
    stems = [_stem(path) for path in images]
    owners = [_owner(_stem(path), stems) for path in painted]
    if len(images) == len(painted) and not any(owners):
        return list(painted)
    partners, faults = [], []
    for stem in dict.fromkeys([*stems, *owners]):
        these = [path for path, own in zip(images, stems, strict=True) if own == stem]
        theirs = [path for path, owner in zip(painted, owners, strict=True) if owner == stem]
        if len(these) == len(theirs) == 1:
            partners += theirs
        else:
            faults.append(f"{_names(these) or 'no image'} with {_names(theirs) or 'no painted file'}")
    if faults:
        more = f"; and {len(faults) - NAMED_FAULTS} more" if len(faults) > NAMED_FAULTS else ""
        raise PictureError(
            f"the files cannot be paired by name ({'; '.join(faults[:NAMED_FAULTS])}{more}): "
            "let each image have one painted file whose name begins with that of the image"
        )
    return partners


def read_whole(path: Path) -> np.ndarray:
    """All planes of a picture file, (..., Y, X)."""
    from napari_fewshot.batch.formats import open_picture

    with open_picture(path) as opened:
        return _all_planes(opened.picture, path)


def read_labels(path: Path) -> np.ndarray:
    """All planes of a file of class numbers, (..., Y, X); of a palette the indices.

    Raises
    ------
    StrokesError
        A colour picture.
    """
    from napari_fewshot.batch.formats import open_picture

    with open_picture(path, as_labels=True) as opened:
        if opened.picture.is_rgb:
            raise StrokesError(f"{path}: the strokes are a colour picture: save class numbers (one channel)")
        return _all_planes(opened.picture, path)


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
                picture = files.enter_context(open_picture(path)).picture
                pictures.append(replace(picture, data=KeptOpen(path, picture.data)))
            else:
                with open_picture(path) as opened:
                    picture = opened.picture
                    planes = Reopened(path, picture.data.shape, picture.dtype)
                pictures.append(Picture(planes, picture.axes, picture.name))
        except PictureError as error:
            note(f"left out: {error}")
    return pictures


class KeptOpen:
    """The array of a picture file that stays open."""

    def __init__(self, path: Path, data: Any) -> None:
        self.path, self.data, self.shape, self.dtype = path, data, data.shape, data.dtype

    def __getitem__(self, where: Any) -> np.ndarray:
        with _named(self.path):
            return np.asarray(self.data[where])


class Reopened:
    """The array of a picture file that is opened anew for each read."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype

    def __getitem__(self, where: Any) -> np.ndarray:
        from napari_fewshot.batch.formats import open_picture

        with _named(self.path), open_picture(self.path) as opened:
            return np.asarray(opened.picture.data[where])


def _all_planes(picture: Picture, path: Path) -> np.ndarray:
    if not picture.n_planes:
        raise PictureError(f"{path} has no plane (one of its axes is empty): choose another file")
    with _named(path):
        planes = [picture.take_plane(index) for index in picture.plane_indices()]
    return np.stack(planes).reshape(picture.shape)  # (n, Y, X) -> (..., Y, X)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let whatever goes wrong with reading a damaged file name it."""
    from napari_fewshot.batch.formats import unreadable

    try:
        yield
    except FewshotError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def _stem(path: Path) -> str:
    return path.stem.removesuffix(".ome")


def _owner(painted: str, stems: Sequence[str]) -> str:
    """The longest of the stems that ``painted`` begins with, empty for none; im10 does not begin with im1."""
    fitting = (s for s in stems if painted.startswith(s) and not _is_cut_number(s, painted[len(s) :]))
    return max(fitting, key=len, default="")


def _is_cut_number(start: str, rest: str) -> bool:
    return start[-1:].isdecimal() and rest[:1].isdecimal()


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)
