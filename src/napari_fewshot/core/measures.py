"""What objects measure, summed up slice by slice: size, place, shape, brightness. Knows not how they were found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_fewshot.core.picture import PlaneIndex

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Grid:
    """Sizes of a pixel along Z, Y and X in ``unit``; a unit ``px`` is no physical one."""

    steps: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: str = "px"

    @property
    def is_physical(self) -> bool:
        return self.unit not in ("", "px", "pixel", "pixels")


class Measures:
    """Sums over the pixels of each object, from which a table follows; grows with the objects, not with the stack.

    Parameters
    ----------
    is_stack : bool
        Whether objects have a third dimension.
    other_axes : str
        Letters of the axes that tell series apart, T and C.
    """

    def __init__(self, is_stack: bool, other_axes: str = "") -> None:
        self.is_stack, self._other_axes = is_stack, other_axes
        self._sums = np.zeros((0, 12))  # pixels, z, y, x, zz, yy, xx, zy, zx, yx, brightness, finite pixels
        self._boxes = np.zeros((0, 6), np.int64)  # z, y, x from and up to
        self._slices = np.zeros(0, np.int64)
        self._series = np.zeros((0, len(other_axes)), np.int64)

    def add(self, z: int, outlines: np.ndarray, ids: np.ndarray, image: np.ndarray, series: PlaneIndex = ()) -> None:
        """Count in one slice: (Y, X) outlines 1 .. n, the (n + 1,) ids they have in the stack, and their (Y, X) image."""
        n = len(ids)
        if n < 2:
            return
        self._make_room(int(ids.max()) + 1)
        y, x = np.nonzero(outlines)
        at = outlines[y, x]
        grey = image[y, x].astype(float)
        is_finite = np.isfinite(grey)
        weights = (y, x, y * y, x * x, y * x, np.where(is_finite, grey, 0.0), is_finite)
        count = np.bincount(at, minlength=n).astype(float)
        sy, sx, syy, sxx, syx, light, lit = (np.bincount(at, w, n) for w in weights)
        sums = (count, z * count, sy, sx, z * z * count, syy, sxx, z * sy, z * sx, syx, light, lit)
        here = np.flatnonzero(count)
        # two outlines of a slice never have one id
        self._sums[ids[here]] += np.stack(sums, 1)[here]
        self._slices[ids[here]] += 1
        self._series[ids[here]] = series
        low, high = np.full((n, 3), np.iinfo(np.int64).max), np.zeros((n, 3), np.int64)
        for axis, where in enumerate((np.full_like(y, z), y, x)):
            np.minimum.at(low[:, axis], at, where)
            np.maximum.at(high[:, axis], at, where + 1)
        boxes = self._boxes[ids[here]]
        self._boxes[ids[here]] = np.hstack([np.minimum(boxes[:, :3], low[here]), np.maximum(boxes[:, 3:], high[here])])

    def table(self, grid: Grid | None = None) -> Columns:
        """One row an object, named as `skimage.measure.regionprops_table` does; in ``grid``'s unit too where it is physical.

        Returns
        -------
        dict of str to ndarray
            ``index`` is the id. Lengths and areas are pixels; columns that end in the unit are physical.
        """
        ids = np.flatnonzero(self._slices)
        sums, boxes = self._sums[ids], self._boxes[ids]
        first = 0 if self.is_stack else 1
        columns: Columns = {"index": ids, "area": sums[:, 0].astype(np.int64)}
        for n, letter in enumerate(self._other_axes):
            columns[letter.lower()] = self._series[ids, n]
        centres = sums[:, 1:4] / sums[:, :1]
        for n, axis in enumerate(range(first, 3)):
            columns[f"centroid-{n}"] = centres[:, axis]
        for n, axis in enumerate([*range(first, 3), *range(first + 3, 6)]):
            columns[f"bbox-{n}"] = boxes[:, axis]
        if self.is_stack:
            columns["slices"] = self._slices[ids]
        columns["intensity_mean"] = sums[:, 10] / np.where(sums[:, 11], sums[:, 11], np.nan)  # of its finite pixels
        columns |= self._lengths(sums, Grid(), "")
        if grid is not None and grid.is_physical:
            what, power = ("volume", "³") if self.is_stack else ("area", "²")
            columns[f"{what} ({grid.unit}{power})"] = sums[:, 0] * np.prod(grid.steps[first:])
            columns |= self._lengths(sums, grid, f" ({grid.unit})")
        return columns

    def _lengths(self, sums: np.ndarray, grid: Grid, suffix: str) -> Columns:
        """Diameter of the disc or ball of the same size, and axes of the ellipse or ellipsoid of the same moments."""
        steps = np.array(grid.steps)[0 if self.is_stack else 1 :]
        n_axes = len(steps)
        size = sums[:, 0] * np.prod(steps)
        diameter = 2 * (np.sqrt(size / np.pi) if n_axes == 2 else np.cbrt(3 * size / (4 * np.pi)))
        spread = self._covariance(sums)[:, -n_axes:, -n_axes:] * steps[:, None] * steps
        variances = np.clip(np.linalg.eigvalsh(spread), 0, None)
        axes = np.sqrt(variances * 4 * (n_axes + 2))  # of a disc or ball: a quarter or a fifth of the radius squared
        return {
            f"equivalent_diameter_area{suffix}": diameter,
            f"axis_major_length{suffix}": axes[:, -1],
            f"axis_minor_length{suffix}": axes[:, 0],
        }

    @staticmethod
    def _covariance(sums: np.ndarray) -> np.ndarray:
        """(N, 3, 3) covariance of the pixels' z, y, x."""
        mean = sums[:, 1:4] / sums[:, :1]
        zz, yy, xx, zy, zx, yx = (sums[:, 4:10] / sums[:, :1]).T
        square = np.stack([zz, zy, zx, zy, yy, yx, zx, yx, xx], 1).reshape(-1, 3, 3)
        return np.asarray(square - mean[:, :, None] * mean[:, None, :])

    def _make_room(self, n: int) -> None:
        more = max(n, 2 * len(self._slices)) - len(self._slices) if n > len(self._slices) else 0
        if more:
            self._sums = np.pad(self._sums, ((0, more), (0, 0)))
            self._slices = np.pad(self._slices, (0, more))
            self._series = np.pad(self._series, ((0, more), (0, 0)))
            fresh = np.tile([*[np.iinfo(np.int64).max] * 3, 0, 0, 0], (more, 1))
            self._boxes = np.vstack([self._boxes, fresh])
