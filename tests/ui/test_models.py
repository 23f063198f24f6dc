"""A version that cannot be written is kept, and can be used, exported and saved later."""

import zipfile
from pathlib import Path

import pytest

from napari_fewshot.core.errors import FewshotError, ModelError, StorageError
from napari_fewshot.core.shelf import CARD, WEIGHTS, read_model
from napari_fewshot.ui.models import Models, NotSavedError


@pytest.fixture
def full_disk(home: Path):
    """A model folder that cannot be made, as on a full or read-only disk."""
    (home / "models").write_text("in the way")
    return home / "models"


def test_a_version_that_cannot_be_written_is_not_lost(full_disk, model_file, tmp_path):
    models = Models()
    with pytest.raises(StorageError, match="'toy' stays usable"):
        models.save(model_file)
    assert models.is_unsaved("toy") and "toy" in [c.name for c in models.of_task("denoise")]
    assert models.read("toy").weights == model_file.weights and models.card("toy").name == "toy"
    assert read_model(models.export("toy", tmp_path / "copy")).card.name == "toy"
    with pytest.raises(StorageError):
        models.save_again("toy")
    assert models.is_unsaved("toy")
    full_disk.unlink()
    assert models.save_again("toy").name == "toy" and not models.is_unsaved("toy")
    assert Models().read("toy").weights == model_file.weights


def test_a_version_that_could_not_be_saved_is_exported_as_the_zip_file_that_was_asked_for(
    full_disk, model_file, tmp_path
):
    models = Models()
    with pytest.raises(StorageError):
        models.save(model_file)
    target = models.export("toy", tmp_path / "copy.zip")
    assert sorted(zipfile.ZipFile(target).namelist()) == [CARD, WEIGHTS]


def test_two_versions_that_cannot_be_written_keep_apart(full_disk, model_file):
    models = Models()
    for _ in range(2):
        with pytest.raises(StorageError):
            models.save(model_file)
    names = [c.name for c in models.of_task("denoise") if models.is_unsaved(c.name)]
    assert len(set(names)) == 2
    models.delete(names[0])
    assert [n for n in names if models.is_unsaved(n)] == names[1:]
    assert models.rename(names[1], "other").name == "other"


def test_a_model_changed_on_disk_is_read_anew(model_file):
    models = Models()
    models.save(model_file)
    assert models.read("toy") is models.read("toy")
    weights = models.shelf.folder_of("toy") / "model.safetensors"
    weights.write_bytes(b"tampered!")
    with pytest.raises(FewshotError, match="do not match"):
        models.read("toy")
    weights.unlink()
    with pytest.raises(FewshotError, match="lacks"):
        models.read("toy")


def test_an_unknown_model_is_named():
    with pytest.raises(FewshotError, match="there is no model 'nobody'"):
        Models().card("nobody")


def test_an_unsaved_version_takes_no_name_that_is_taken_or_impossible(full_disk, model_file):
    models = Models()
    names = []
    for _ in range(2):
        with pytest.raises(NotSavedError) as error:
            models.save(model_file)
        names.append(error.value.card.name)
    for wrong in (names[1], "em-denoise", "bad/name"):
        with pytest.raises(ModelError):
            models.rename(names[0], wrong)
    assert [c.name for c in models.cards() if models.is_unsaved(c.name)] == names


def test_a_model_that_is_gone_is_not_known(model_file):
    models = Models()
    models.save(model_file)
    assert models.known("toy") is not None
    (models.shelf.folder_of("toy") / "card.json").write_text("{")
    assert models.known("toy") is None and not models.is_gone("toy")
    models.delete("toy")
    assert models.is_gone("toy")
