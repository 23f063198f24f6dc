"""Keeps a long training on disk, safetensors with JSON inside, so that it can go on after any end. Knows no pretext."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from napari_fewshot.core.errors import ModelError, StorageError
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.objective import Snapshot

FILE = "checkpoint.safetensors"


class Checkpoint:
    """One file that is replaced at once; guards that no other training goes on from it.

    Parameters
    ----------
    folder : Path
        Where snapshots are kept.
    recipe : dict
        What must be the same for a training to go on, but for its ``end``; JSON values.
    objective : object
        Has a ``state_dict`` of what it needs beside the loop's states.
    resume : Path or None
        A folder with the checkpoint of the training to go on with.
    listener : Listener
        Told of another end.
    """

    def __init__(
        self, folder: Path, recipe: dict[str, Any], objective: Any, resume: Path | None, listener: Listener = SILENT
    ) -> None:
        self.path, self.recipe, self.objective, self.resume = folder / FILE, recipe, objective, resume
        self.listener = listener

    def load(self) -> Snapshot | None:
        """Read and verify the checkpoint to go on from.

        Raises
        ------
        ModelError
            There is none, it is damaged, or it is that of another training; the message says what differs.
        """
        if self.resume is None:
            return None
        path = find_checkpoint(self.resume)
        try:
            with safetensors.safe_open(path, "pt") as file:
                notes = json.loads(file.metadata()["snapshot"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} is damaged ({error}): start anew, or choose another folder") from None
        differing = [k for k, v in self.recipe.items() if notes["recipe"].get(k, v) != v]  # earlier ones noted less
        if "end" in differing:
            differing.remove("end")
            was, now = notes["recipe"]["end"], self.recipe["end"]
            self.listener.note(f"the learning rate falls until {now} now, no longer {was} as when the training began")
        if differing:
            raise ModelError(
                f"{path} is of a training with another {', '.join(differing)}: use the options it was started with"
            )
        states = {name: _joined(layout, tensors) for name, layout in notes["states"].items()}
        self.objective.load_state_dict(states["objective"])
        return Snapshot(states, notes["numbers"])

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file.

        Raises
        ------
        StorageError
            The disk is full or read-only.
        """
        tensors: dict[str, Tensor] = {}
        states = snapshot.states | {"objective": self.objective.state_dict()}
        layout = {name: _taken_apart(state, name, tensors) for name, state in states.items()}
        notes = json.dumps({"recipe": self.recipe, "numbers": snapshot.numbers, "states": layout})
        part = self.path.with_name(f".{FILE}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(safetensors.torch.save(tensors, {"snapshot": notes}))
            os.replace(part, self.path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)  # its room is wanted for the models
            raise StorageError(f"cannot write {self.path} ({error.strerror or error}): free some space") from error

    def remove(self) -> None:
        """Nothing is left to go on with."""
        self.path.unlink(missing_ok=True)


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint in a folder; raises ModelError where there is none."""
    if not (folder / FILE).is_file():
        raise ModelError(f"{folder} holds no {FILE}: choose the folder of a pretraining that was stopped")
    return folder / FILE


def check_room(folder: Path, n_bytes: int) -> None:
    """Make a folder and find out, before hours of training, whether results will fit.

    Raises
    ------
    StorageError
        It cannot be written, or the disk has too little room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"cannot write into {folder} ({error.strerror or error}): choose another folder") from None
    if free < n_bytes:
        raise StorageError(
            f"{folder} has room for {free / 1e6:.0f} MB, the training needs {n_bytes / 1e6:.0f} MB: free some space or "
            "choose another folder"
        )


def _taken_apart(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A nested state as JSON, its tensors moved into ``tensors`` and named in their place."""
    if isinstance(state, Tensor):
        tensors[name] = state.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(state, Mapping):
        return {"keys": [[k, _taken_apart(v, f"{name}.{k}", tensors)] for k, v in state.items()]}
    if isinstance(state, list | tuple):
        return {"list": [_taken_apart(v, f"{name}.{i}", tensors) for i, v in enumerate(state)]}
    return {"value": state}


def _joined(layout: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """The state that `_taken_apart` took apart."""
    if "tensor" in layout:
        return tensors[layout["tensor"]]
    if "keys" in layout:
        return {k: _joined(v, tensors) for k, v in layout["keys"]}
    if "list" in layout:
        return [_joined(v, tensors) for v in layout["list"]]
    return layout["value"]
