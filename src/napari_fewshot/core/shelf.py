"""The shelf of models: embedded ones and the user's versions, each a folder of model.safetensors + card.json.

The only place that knows model paths, hashes and how a folder becomes complete at once. Knows no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import platformdirs

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ModelError, StorageError

WEIGHTS, CARD = "model.safetensors", "card.json"
HOME_VARIABLE = "NAPARI_FEWSHOT_HOME"
NAME_LENGTH = 80
UNREADABLE = (ModelError, OSError, UnicodeDecodeError)
NAME = re.compile(rf"\w[\w .()+-]{{0,{NAME_LENGTH - 1}}}")
DEVICE_NAME = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])", re.IGNORECASE)  # which Windows keeps for itself


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model as it lies on disk or travels to a worker: its card and the bytes of its safetensors file."""

    card: ModelCard
    weights: bytes

    @classmethod
    def sealed(cls, card: ModelCard, weights: bytes) -> ModelFile:
        """A new model: hash and id are taken from the weights and the card's own content."""
        sha256 = hashlib.sha256(weights).hexdigest()
        card = replace(card, sha256=sha256, id="")
        return cls(replace(card, id=hashlib.sha256(card.to_json().encode()).hexdigest()[:16]), weights)


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Read and verify a model folder, or the zip file that `export_model` made of one.

    Raises
    ------
    ModelError
        Missing, unreadable, foreign, truncated, altered, or from a newer version.
    """
    path = Path(path)
    try:
        files = _unzipped(path) if path.is_file() else _in_folder(path)
        card = ModelCard.from_json(files[CARD].decode("utf-8"), str(path / CARD))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the model in {path} ({error}): check the disk and the permissions") from None
    if hashlib.sha256(files[WEIGHTS]).hexdigest() != card.sha256:
        raise ModelError(
            f"the weights in {path} do not match their card (truncated or altered file): copy or import the model again"
        )
    return ModelFile(card, files[WEIGHTS])


def _in_folder(folder: Path) -> dict[str, bytes]:
    missing = [name for name in (CARD, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder} is not a model folder, it lacks {' and '.join(missing)}: choose a folder with both")
    return {name: (folder / name).read_bytes() for name in (CARD, WEIGHTS)}


def _unzipped(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next((n for n in archive.namelist() if n.rpartition("/")[2] == CARD), CARD).removesuffix(CARD)
            return {name: archive.read(inside + name) for name in (CARD, WEIGHTS)}
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, RuntimeError) as error:  # RuntimeError: encrypted
        raise ModelError(f"{path} is not an exported model ({error}): choose a model folder or zip file") from None


def write_model(model: ModelFile, folder: str | os.PathLike[str]) -> Path:
    """Write a model folder that is there completely or not at all.

    Raises
    ------
    StorageError
        The folder exists already, or the disk is full or read-only.
    """
    folder = Path(folder)
    if folder.exists():
        raise StorageError(f"{folder} exists already: choose another name (a saved model is never overwritten)")
    with _storage(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        try:
            (part / WEIGHTS).write_bytes(model.weights)
            (part / CARD).write_text(model.card.to_json(), "utf-8")
            part.chmod(0o755)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def export_model(model: ModelFile, target: str | os.PathLike[str]) -> Path:
    """Write a model to a folder, or to a zip file when ``target`` ends in ``.zip``.

    Raises
    ------
    StorageError
        The target exists already, or the disk is full or read-only.
    """
    target = Path(target)
    if target.suffix.lower() != ".zip":
        return write_model(model, target)
    if target.exists():
        raise StorageError(f"{target} exists already: choose another name")
    with _storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fewshot-") as folder:
            part = Path(folder) / target.name
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(CARD, model.card.to_json())
                archive.writestr(WEIGHTS, model.weights)
            part.rename(target)
    return target


def embedded_folder() -> Path:
    """Where the pretrained generators lie inside the package."""
    return Path(str(resources.files("napari_fewshot") / "weights"))


def user_folder() -> Path:
    """The user's model folder; the environment variable NAPARI_FEWSHOT_HOME moves it."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home or platformdirs.user_data_dir("napari-fewshot", appauthor=False)) / "models"


class Shelf:
    """Models by name: the embedded generators, then the user's versions.

    Guards that names are unique, that embedded models stay as they are, and that nothing overwrites a card.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or user_folder()

    def cards(self) -> list[ModelCard]:
        """Embedded models first, then the user's by time of creation; unreadable folders are left out, see `faults`."""
        return self._cards_in(embedded_folder()) + sorted(self._cards_in(self.root), key=lambda c: (c.created, c.name))

    def faults(self) -> dict[str, str]:
        """Folders of the user whose card cannot be read, as one from a newer version, and why."""
        found = {}
        for path in _card_files(self.root):
            try:
                _card_in(path)
            except UNREADABLE as error:
                found[path.parent.name] = str(error)
        return found

    def folder_of(self, name: str) -> Path:
        """The folder of a named model.

        Raises
        ------
        ModelError
            No such model; the message lists those there are.
        """
        for root in (embedded_folder(), self.root):
            if NAME.fullmatch(name) and (root / name / CARD).is_file():
                return root / name
        raise ModelError(f"there is no model '{name}': choose one of {', '.join(c.name for c in self.cards())}")

    def read(self, name: str) -> ModelFile:
        """A named model; it is called as its folder, also where that was renamed by hand."""
        model = read_model(self.folder_of(name))
        return replace(model, card=model.card.renamed(name))

    def add(self, model: ModelFile) -> ModelCard:
        """Save a version under its card's name, or that name with the next free number.

        Raises
        ------
        StorageError
            The disk is full or read-only.
        """
        while True:
            card = model.card.renamed(self.free_name(model.card.name))
            try:
                write_model(replace(model, card=card), self.root / card.name)
            except StorageError:
                if self.free_name(card.name) == card.name:  # else another process has taken it meanwhile
                    raise
            else:
                return card

    def free_name(self, wanted: str) -> str:
        """``wanted`` itself, or ``wanted-2``, ``wanted-3``, ...; an existing number counts on."""
        _check_name(wanted)
        taken = {c.name for c in self.cards()}
        if wanted not in taken and not (self.root / wanted).exists():
            return wanted
        stem, n = re.sub(r"-\d+$", "", wanted)[: NAME_LENGTH - 6], 2
        while f"{stem}-{n}" in taken or (self.root / f"{stem}-{n}").exists():
            n += 1
        return f"{stem}-{n}"

    def check_free(self, name: str) -> None:
        """Raise ModelError when a model has that name, or none can."""
        if self.free_name(name) != name:
            raise ModelError(f"there is a model '{name}' already: choose another name")

    def rename(self, name: str, new_name: str) -> ModelCard:
        """Give a version of the user another name; its id, by which children know it, stays."""
        source = self._own(name)
        self.check_free(new_name)
        model = read_model(source)
        card = model.card.renamed(new_name)
        write_model(replace(model, card=card), self.root / new_name)
        self._remove(source)
        return card

    def delete(self, name: str) -> None:
        self._remove(self._own(name))

    def export(self, name: str, target: str | os.PathLike[str]) -> Path:
        """Copy a model to a folder, or to a zip file when ``target`` ends in ``.zip``."""
        return export_model(self.read(name), target)

    def import_model(self, source: str | os.PathLike[str]) -> ModelCard:
        """Verify a model folder or zip file and save it under a free name.

        Raises
        ------
        ModelError
            Not a model, or altered; nothing is saved then.
        """
        return self.add(read_model(source))

    def _own(self, name: str) -> Path:
        folder = self.folder_of(name)
        if folder.parent != self.root:
            raise ModelError(
                f"'{name}' comes with the plugin and cannot be changed: fine-tune it to get a version of your own"
            )
        return folder

    def _remove(self, folder: Path) -> None:
        with _storage(folder):
            shutil.rmtree(folder)

    @staticmethod
    def _cards_in(root: Path) -> list[ModelCard]:
        found = []
        for path in _card_files(root):
            with suppress(*UNREADABLE):  # a damaged folder must not hide the others
                found.append(_card_in(path))
        return found


def _card_files(root: Path) -> list[Path]:
    """Without what is left over from a write that was cut off."""
    return [p for p in sorted(root.glob(f"*/{CARD}")) if NAME.fullmatch(p.parent.name)] if root.is_dir() else []


def _card_in(path: Path) -> ModelCard:
    return ModelCard.from_json(path.read_text("utf-8"), str(path)).renamed(path.parent.name)


def can_be_name(name: str) -> bool:
    """Whether a model can be called so, and a folder on every system."""
    is_reserved = DEVICE_NAME.fullmatch(name.partition(".")[0].rstrip())
    return bool(NAME.fullmatch(name)) and not is_reserved and not name.endswith((" ", "."))


def _check_name(name: str) -> None:
    if not can_be_name(name):
        raise ModelError(f"'{name}' cannot be a model name: use 1 to 80 letters, digits, spaces or _ . ( ) + -")


@contextmanager
def _storage(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {target} ({error.strerror or error}): free some space or choose another folder"
        ) from error
