"""Joins what was cut out plane by plane to objects of the whole stack, and measures them. Cuts nothing apart itself."""

from __future__ import annotations

from collections import Counter

import numpy as np

from napari_fewshot.core.measures import Measures
from napari_fewshot.core.objects import Linker, split_index
from napari_fewshot.core.picture import Picture, PlaneIndex


class Joiner:
    """Guards that every outline is measured under the id it has in the stack, and that series that are done are forgotten.

    Parameters
    ----------
    picture : Picture
    is_stack : bool
        Whether objects may go on along Z; only where the picture has that axis.
    """

    def __init__(self, picture: Picture, is_stack: bool = True) -> None:
        self._z_axis = picture.leading.find("Z")
        self._n_slices = picture.shape[self._z_axis] if self._z_axis >= 0 else 1
        self._n_taken: Counter[PlaneIndex] = Counter()
        self._linker = Linker()
        self.measures = Measures(is_stack and self._z_axis >= 0, picture.leading.replace("Z", ""))

    def join(self, index: PlaneIndex, outlines: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Take the next plane, in an order a `Linker` can take.

        Parameters
        ----------
        outlines : ndarray
            (Y, X) ids 1 .. n of this plane alone, 0 for none.
        image : ndarray
            (Y, X) whose brightness is measured.

        Returns
        -------
        ndarray
            (Y, X) int32, ids in the whole stack.
        """
        z, series = split_index(index, self._z_axis)
        ids = self._linker.link(z, outlines, series)
        self.measures.add(z, outlines, ids, image, series)
        self._n_taken[series] += 1
        if self._n_taken[series] == self._n_slices:
            self._linker.forget(series)
            del self._n_taken[series]
        return np.asarray(ids[outlines])
