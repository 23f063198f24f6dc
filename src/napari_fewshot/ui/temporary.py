"""Arrays in a temporary folder, for what is larger than memory allows. Imported where it is needed: zarr takes half a second."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

CHUNK_PX = 1024


class TemporaryStore(LocalStore):
    """Guards that its folder is there as long as an array in it, and that a copy of the array, as a duplicated layer has, gets its own."""

    @classmethod
    def make(cls) -> TemporaryStore:
        """A store in a new folder, which goes with it."""
        store = cls(Path(tempfile.mkdtemp(prefix="napari-fewshot-")))
        weakref.finalize(store, shutil.rmtree, store.root, ignore_errors=True)
        return store

    def __deepcopy__(self, memo: dict[int, Any]) -> TemporaryStore:
        store = self.make()
        shutil.copytree(self.root, store.root, dirs_exist_ok=True)
        return store


def temporary_array(shape: tuple[int, ...], dtype: Any, empty: float = 0) -> zarr.Array[Any]:
    """An array on disk, all ``empty``, a plane of pixels a chunk."""
    chunks = (1,) * (len(shape) - 2) + tuple(min(n, CHUNK_PX) for n in shape[-2:])
    return zarr.create_array(
        TemporaryStore.make(), shape=shape, chunks=chunks, dtype=dtype, fill_value=empty, compressors=None
    )
