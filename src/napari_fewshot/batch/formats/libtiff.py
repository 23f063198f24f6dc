"""Pages of a TIFF that tifffile decodes with imagecodecs alone (LZW, JPEG), decoded by Pillow's libtiff. Knows no pixel sizes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import dask
import dask.array
import numpy as np
import tifffile
from PIL import UnidentifiedImageError
from tifffile import COMPRESSION, PHOTOMETRIC, PREDICTOR

from napari_fewshot.batch.formats.raster import any_size
from napari_fewshot.core.errors import PictureError

PLAIN = {COMPRESSION.NONE, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.PACKBITS, COMPRESSION.LZMA}
PREDICTORS = {PREDICTOR.NONE, PREDICTOR.HORIZONTAL}
# Pillow inverts MINISWHITE
AS_STORED = {PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.PALETTE, PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR}


def is_decodable(page: tifffile.TiffPage) -> bool:
    """Whether tifffile can decode a page here."""
    return find_spec("imagecodecs") is not None or (page.compression in PLAIN and page.predictor in PREDICTORS)


def by_libtiff(series: tifffile.TiffPageSeries) -> dask.array.Array:
    """All pages of a series, each decoded when it is asked for; zeros where the file has none.

    Raises
    ------
    PictureError
        Pillow would not give the pixels as they are stored.
    """
    page = series.keyframe
    kind = f"{getattr(page.compression, 'name', page.compression)} with pixels of {page.dtype}"
    if page.photometric not in AS_STORED or page.shape != series.shape[series.ndim - len(page.shape) :]:
        raise _needs_imagecodecs(kind)
    planes = [
        dask.array.zeros(page.shape, page.dtype, chunks=-1)
        if one is None
        else dask.array.from_delayed(
            dask.delayed(_decoded)(Path(one.parent.filehandle.path), one.index, page.shape, page.dtype, kind),
            page.shape,
            page.dtype,
        )
        for one in series.pages
    ]
    return dask.array.stack(planes).reshape(series.shape)  # (n, Y, X) or (n, Y, X, S) -> (..., Y, X) or (..., Y, X, S)


def _decoded(path: Path, index: int, shape: tuple[int, ...], dtype: np.dtype, kind: str) -> np.ndarray:
    try:
        with any_size(path) as image:
            image.seek(index)
            pixels = np.asarray(image)
    except UnidentifiedImageError:
        raise _needs_imagecodecs(kind) from None
    if pixels.shape != shape or not np.can_cast(pixels.dtype, dtype, "equiv"):
        raise _needs_imagecodecs(kind)
    return pixels.astype(dtype)


def _needs_imagecodecs(kind: str) -> PictureError:
    return PictureError(
        f"reading TIFF compressed by {kind} needs imagecodecs: pip install imagecodecs, or save it without"
    )
