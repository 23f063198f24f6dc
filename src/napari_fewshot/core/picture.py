"""A picture: a lazy or real array with named axes, walked plane by plane. Knows nothing of napari, torch or files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.intensity import sample_step

MINIMUM_PX = 32
MAXIMUM_AXES = 5
LUMINANCE = np.array([0.2125, 0.7154, 0.0721], np.float32)  # ITU-R BT.709, as in skimage.color.rgb2gray

PlaneIndex = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """Planes of an image, whatever the array behind it.

    Parameters
    ----------
    data : array-like
        Anything with ``shape``, ``dtype`` and basic indexing: numpy, dask, zarr.
    axes : str
        One letter per axis of ``data``; the last two spatial ones are ``Y`` and ``X``, ``S`` (last) marks samples,
        RGB(A) or grey with alpha, ``C`` a channel axis. Examples: ``"YX"``, ``"TZYX"``, ``"ZCYX"``, ``"YXS"``.
    name : str
        Shown to the user, never used as a key.
    channel : int or None
        The only index of the ``C`` axis that is walked; None walks all of them.

    Raises
    ------
    PictureError
        Too many axes, or an axis description that does not fit the array.
    """

    data: Any
    axes: str
    name: str = "image"
    channel: int | None = None

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.data.shape):
            raise PictureError(
                f"'{self.name}' has {len(self.data.shape)} axes but is described as {self.axes!r}: give one letter per axis"
            )
        if not self.axes.removesuffix("S").endswith("YX"):
            raise PictureError(f"'{self.name}': the axes must end with Y and X (then S for RGB), got {self.axes!r}")
        if len(self.leading) + 2 > MAXIMUM_AXES:
            raise PictureError(
                f"'{self.name}' has {len(self.axes)} axes, at most T, C, Z, Y and X can be worked on: "
                "select a part of it first (for example image[0])"
            )
        if np.dtype(self.data.dtype).kind not in "buif":
            raise PictureError(f"'{self.name}' holds {self.data.dtype} values: convert it to integers or floats first")

    @property
    def leading(self) -> str:
        """Axes in front of Y and X, in order."""
        return self.axes.removesuffix("S")[:-2]

    @property
    def is_rgb(self) -> bool:
        return self.axes.endswith("S") and self.data.shape[-1] > 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the samples and with the channel axis narrowed to the one that is walked."""
        full = self.data.shape[: len(self.leading) + 2]
        return tuple(1 if self._is_fixed(a) else n for a, n in zip(self.leading + "YX", full, strict=True))

    @property
    def plane_shape(self) -> tuple[int, int]:
        n = len(self.leading)
        return self.data.shape[n], self.data.shape[n + 1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.data.dtype)

    @property
    def n_planes(self) -> int:
        return int(np.prod(self.shape[:-2], dtype=int))

    def plane_indices(self) -> Iterator[PlaneIndex]:
        """Indices of all walked planes into the leading axes of ``data``, last axis fastest."""
        ranges: list[Iterable[int]] = [
            (self.channel,) if a == "C" and self.channel is not None else range(n)
            for a, n in zip(self.leading, self.data.shape[: len(self.leading)], strict=True)
        ]
        return product(*ranges)

    def result_index(self, index: PlaneIndex) -> PlaneIndex:
        """Where plane ``index`` stands in an array of shape ``self.shape``."""
        return tuple(0 if self._is_fixed(a) else i for a, i in zip(self.leading, index, strict=True))

    def name_of(self, index: PlaneIndex) -> str:
        """A plane as it is called in a sentence."""
        return f"plane {index} of '{self.name}'" if index else f"'{self.name}'"

    def take_plane(self, index: PlaneIndex, box: tuple[slice, slice] | None = None) -> np.ndarray:
        """Read one plane, or a box of it.

        Returns
        -------
        ndarray
            (Y, X), the dtype of the picture; RGB comes as its luminance, float32 for floats, else the same dtype.
            Alpha is left out.
        """
        where = (*index, *(box or (slice(None), slice(None))))
        plane = np.asarray(self.data[where])
        if not self.is_rgb:
            return plane[..., 0] if self.axes.endswith("S") else plane
        grey = plane[..., :3].astype(np.float32) @ LUMINANCE  # (Y, X, 3) -> (Y, X)
        return grey if self.dtype.kind == "f" else np.rint(grey).astype(self.dtype)

    def take_sample(self, index: PlaneIndex) -> np.ndarray:
        """Read every so many rows and columns of one plane, by which its intensity is measured; all of a small one."""
        step = sample_step(self.plane_shape)
        return self.take_plane(index, (slice(None, None, step), slice(None, None, step)))

    def check_size(self) -> None:
        """Raise PictureError when a plane is smaller than `MINIMUM_PX` along Y or X, or there is none."""
        if not self.n_planes:
            raise PictureError(f"'{self.name}' has no plane, one of its axes is empty: choose another image")
        for axis, n in zip("YX", self.plane_shape, strict=True):
            if n < MINIMUM_PX:
                raise PictureError(
                    f"'{self.name}' needs at least {MINIMUM_PX} px in {axis}, got {n}: crop less or choose another image"
                )

    def _is_fixed(self, axis: str) -> bool:
        return axis == "C" and self.channel is not None


def picture_of(array: Any, name: str = "image") -> Picture:
    """A picture from a bare array: (Y, X), (Z, Y, X), (T, Z, Y, X) or (T, C, Z, Y, X); masked floats become NaN."""
    array = _of_numpy(array, name)
    n = len(array.shape)
    if n < 2:
        raise PictureError(f"'{name}' has {n} axes: an image needs at least Y and X")
    if n > 2 and array.shape[-1] in (3, 4):
        raise PictureError(
            f"'{name}' of shape {tuple(array.shape)} looks like RGB: give one channel, as in image[..., 0], or the mean of them"
        )
    axes = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}.get(n)
    if axes is None:
        raise PictureError(
            f"'{name}' has {n} axes, at most T, C, Z, Y and X can be worked on: select a part of it first"
        )
    return Picture(array, axes, name)


def _of_numpy(array: Any, name: str) -> Any:
    """An array, lazy or not, whose values are what numpy knows."""
    if isinstance(array, str | os.PathLike):
        raise PictureError(
            f"'{name}' is the name of a file: read it first, as with tifffile.imread, or use the command napari-fewshot predict"
        )
    if isinstance(array, np.ma.MaskedArray):
        if array.dtype.kind == "f":
            return array.filled(np.nan)
        if np.ma.is_masked(array):
            raise PictureError(
                f"'{name}' is masked, which integers cannot tell: convert it to floats, as in image.astype(float), or fill it"
            )
        return array.data
    try:
        is_known = hasattr(array, "shape") and np.dtype(array.dtype) is not None
    except (AttributeError, TypeError):  # a list, or a tensor
        is_known = False
    if is_known:
        return array
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(array).__name__
        raise PictureError(f"'{name}' is a {kind} and no array ({error}): give a numpy array of numbers") from None
