"""The models one viewer can choose from: the shelf's, and versions that could not be saved yet. Knows no Qt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import RLock

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError, StorageError
from napari_fewshot.core.shelf import CARD, WEIGHTS, ModelFile, Shelf, embedded_folder, export_model


class NotSavedError(StorageError):
    """A version cannot be written; ``card`` names it as it is kept in memory."""

    def __init__(self, message: str, card: ModelCard) -> None:
        super().__init__(message)
        self.card = card


class Models:
    """Guards that a version is never lost: one that cannot be written is kept in memory until it can. Thread-safe."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()
        self._unsaved: dict[str, ModelFile] = {}
        self._lock = RLock()
        self._last: ModelFile | None = None
        self._last_stamp: tuple[str, int, int] | None = None

    def cards(self) -> list[ModelCard]:
        """Embedded models, saved versions, then unsaved ones."""
        with self._lock:
            return self.shelf.cards() + [m.card for m in self._unsaved.values()]

    def faults(self) -> dict[str, str]:
        """Versions on the shelf that cannot be read, and why."""
        return self.shelf.faults()

    def of_task(self, task: str) -> list[ModelCard]:
        return [c for c in self.cards() if c.task == task]

    def card(self, name: str) -> ModelCard:
        """The card of a model by name.

        Raises
        ------
        ModelError
            There is no such model.
        """
        if (unsaved := self._unsaved.get(name)) is not None:
            return unsaved.card
        path = self.shelf.folder_of(name) / CARD
        try:
            return ModelCard.from_json(path.read_text("utf-8"), str(path)).renamed(name)
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot read {path} ({error}): choose another model") from None

    def known(self, name: str) -> ModelCard | None:
        """The card of a model; None when it is gone or damaged, of which is told when it is used."""
        try:
            return self.card(name)
        except ModelError:
            return None

    def is_gone(self, name: str) -> bool:
        """Whether somebody else deleted it; a damaged model is still there."""
        try:
            return not self.is_unsaved(name) and not self.shelf.folder_of(name).is_dir()
        except ModelError:
            return True

    def is_unsaved(self, name: str) -> bool:
        return name in self._unsaved

    def is_embedded(self, name: str) -> bool:
        return not self.is_unsaved(name) and (embedded_folder() / name).is_dir()

    def read(self, name: str) -> ModelFile:
        """Read and verify a model by name; see `Shelf.read` for what can be wrong with it."""
        with self._lock:
            if name in self._unsaved:
                return self._unsaved[name]
            weights = self.shelf.folder_of(name) / WEIGHTS
            stamp = (name, weights.stat().st_mtime_ns, weights.stat().st_size) if weights.is_file() else None
            if stamp is None or stamp != self._last_stamp or self._last is None:
                self._last, self._last_stamp = self.shelf.read(name), stamp  # 30 ms that Live need not pay twice
            return self._last

    def save(self, model: ModelFile) -> ModelCard:
        """Save a new version under a free name.

        Raises
        ------
        NotSavedError
            The disk is full or read-only; the version then stays in memory, under its free name.
        """
        with self._lock:
            try:
                return self.shelf.add(model)
            except StorageError as error:
                name = self._free_name(model.card.name)
                self._unsaved[name] = replace(model, card=model.card.renamed(name))
                raise NotSavedError(
                    f"{error}. '{name}' stays usable until napari closes: save it again or export it under Versions",
                    self._unsaved[name].card,
                ) from error

    def save_again(self, name: str) -> ModelCard:
        """Write a version that could not be written before."""
        with self._lock:
            card = self.shelf.add(self._unsaved[name])
            del self._unsaved[name]
            return card

    def rename(self, name: str, new_name: str) -> ModelCard:
        """Rename a version.

        Raises
        ------
        ModelError
            The new name is taken, or cannot be that of a folder.
        """
        with self._lock:
            if new_name in self._unsaved:
                raise ModelError(f"there is a model '{new_name}' already: choose another name")
            if not self.is_unsaved(name):
                return self.shelf.rename(name, new_name)
            self.shelf.check_free(new_name)
            model = self._unsaved.pop(name)
            self._unsaved[new_name] = replace(model, card=model.card.renamed(new_name))
            return self._unsaved[new_name].card

    def delete(self, name: str) -> None:
        with self._lock:
            if self._unsaved.pop(name, None) is None:
                self.shelf.delete(name)

    def export(self, name: str, target: Path) -> Path:
        """Copy a model to a folder or a zip file."""
        return export_model(self.read(name), target)

    def import_model(self, source: Path) -> ModelCard:
        with self._lock:
            return self.shelf.import_model(source)

    def _free_name(self, wanted: str) -> str:
        name, n = self.shelf.free_name(wanted), 2
        while name in self._unsaved:
            name, n = f"{wanted}-unsaved-{n}", n + 1
        return name
