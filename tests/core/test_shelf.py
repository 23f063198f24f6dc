import errno
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_fewshot.core.errors import ModelError, StorageError
from napari_fewshot.core.shelf import CARD, NAME, WEIGHTS, ModelFile, Shelf, embedded_folder, read_model, write_model


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "models")


def test_a_saved_model_is_there_in_a_new_session(shelf, model_file):
    card = shelf.add(model_file)
    again = Shelf(shelf.root)
    assert card in again.cards()
    assert again.read("toy").weights == model_file.weights


def test_nothing_overwrites_a_version(shelf, model_file):
    names = [shelf.add(model_file).name for _ in range(3)]
    assert names == ["toy", "toy-2", "toy-3"]
    with pytest.raises(StorageError, match="never overwritten"):
        write_model(model_file, shelf.root / "toy")


def test_a_name_that_another_process_takes_meanwhile_costs_no_model(shelf, model_file, monkeypatch):
    free_name = Shelf.free_name

    def and_then_taken(self, wanted):
        name = free_name(self, wanted)
        monkeypatch.undo()
        write_model(model_file, shelf.root / name)
        return name

    monkeypatch.setattr(Shelf, "free_name", and_then_taken)
    assert shelf.add(model_file).name == "toy-2"


def test_a_model_that_a_colleague_sent_as_a_zip_file_is_read_as_it_is(shelf, model_file, tmp_path):
    shelf.add(model_file)
    assert vars(read_model(shelf.export("toy", tmp_path / "toy.zip"))) == vars(shelf.read("toy"))


def test_a_renamed_version_keeps_its_id_and_its_place_in_the_family(shelf, model_file):
    old = shelf.add(model_file)
    new = shelf.rename("toy", "my best")
    assert (new.id, new.name) == (old.id, "my best")
    assert [c.name for c in shelf.cards() if c.id == old.id] == ["my best"]
    with pytest.raises(ModelError, match="there is no model 'toy'"):
        shelf.read("toy")


def test_a_folder_renamed_by_hand_renames_its_model(shelf, model_file, tmp_path):
    shelf.add(model_file)
    (shelf.root / "toy").rename(shelf.root / "mine")
    assert shelf.read("mine").card.name == "mine" and "mine" in [c.name for c in shelf.cards()]
    assert read_model(shelf.export("mine", tmp_path / "mine.zip")).card.name == "mine"


def test_a_deleted_version_is_gone_and_embedded_ones_stay(shelf, model_file):
    shelf.add(model_file)
    shelf.delete("toy")
    assert not (shelf.root / "toy").exists()
    for card in shelf._cards_in(embedded_folder()):
        with pytest.raises(ModelError, match="comes with the plugin"):
            shelf.delete(card.name)
        with pytest.raises(ModelError, match="comes with the plugin"):
            shelf.rename(card.name, "other")


@pytest.mark.parametrize(
    "name", ["", "../up", "a/b", ".hidden", "a" * 81, "con:", "end.", "end ", "a\nb", "NUL", "com1.v2"]
)
def test_names_that_could_leave_the_folder_are_refused(shelf, model_file, name):
    with pytest.raises(ModelError, match="cannot be a model name"):
        shelf.add(replace(model_file, card=model_file.card.renamed(name)))
    shelf.add(model_file)
    with pytest.raises(ModelError):
        shelf.rename("toy", name)
    with pytest.raises(ModelError):
        shelf.read(name)


@pytest.mark.parametrize("target", ["model.zip", "folder"])
def test_an_exported_model_is_the_same_after_import(shelf, model_file, tmp_path, target):
    shelf.add(model_file)
    other = Shelf(tmp_path / "other")
    card = other.import_model(shelf.export("toy", tmp_path / target))
    assert (card.id, other.read("toy").weights) == (model_file.card.id, model_file.weights)
    with pytest.raises(StorageError, match="exists already"):
        shelf.export("toy", tmp_path / target)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.from_regex(NAME, fullmatch=True).filter(lambda n: not n.endswith((" ", "."))),
    weights=st.binary(max_size=200),
)
def test_any_name_and_any_bytes_make_the_round_trip(tmp_path_factory, model_file, name, weights):
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    card = shelf.add(ModelFile.sealed(model_file.card.renamed(name), weights))
    assert shelf.read(card.name).weights == weights


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.sampled_from([CARD, WEIGHTS]), cut=st.integers(0, 10_000), noise=st.binary(max_size=8))
def test_a_damaged_file_is_a_model_error_or_makes_no_difference(tmp_path_factory, model_file, which, cut, noise):
    folder = write_model(model_file, tmp_path_factory.mktemp("damaged") / "toy")
    whole = (folder / which).read_bytes()
    damaged = whole[: cut % (len(whole) + 1)] + noise
    (folder / which).write_bytes(damaged)
    try:
        assert read_model(folder).weights == model_file.weights
    except ModelError:
        pass


def test_a_truncated_weights_file_and_a_missing_one_are_named(shelf, model_file):
    shelf.add(model_file)
    (shelf.root / "toy" / WEIGHTS).write_bytes(b"weig")
    with pytest.raises(ModelError, match="truncated or altered"):
        shelf.read("toy")
    (shelf.root / "toy" / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=f"lacks {WEIGHTS}"):
        shelf.read("toy")


def test_a_damaged_folder_does_not_hide_the_others(shelf, model_file):
    shelf.add(model_file)
    (shelf.root / "bad").mkdir()
    (shelf.root / "bad" / CARD).write_text("{")
    assert "toy" in [c.name for c in shelf.cards()]


@pytest.mark.parametrize("content", [b"no zip", None])
def test_what_was_not_exported_cannot_be_imported(shelf, tmp_path, content):
    path = tmp_path / "foreign.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="not an exported model"):
        shelf.import_model(path)
    assert not shelf.root.exists() or not any(shelf.root.iterdir())


def test_an_altered_zip_is_not_saved(shelf, model_file, tmp_path):
    with zipfile.ZipFile(tmp_path / "altered.zip", "w") as archive:
        archive.writestr(CARD, model_file.card.to_json())
        archive.writestr(WEIGHTS, b"other weights")
    with pytest.raises(ModelError, match="truncated or altered"):
        shelf.import_model(tmp_path / "altered.zip")
    assert not shelf.root.exists() or not any(shelf.root.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing_behind(shelf, model_file, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        shelf.add(model_file)
    assert [*shelf.root.iterdir()] == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file limits")
def test_a_disk_that_really_takes_no_more_is_told_and_nothing_is_left_behind(shelf, model_file):
    import resource

    big = ModelFile.sealed(model_file.card, bytes(100_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            shelf.add(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [*shelf.root.iterdir()] == []


def test_a_place_that_cannot_hold_folders_is_told(tmp_path, model_file):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="choose another folder"):
        Shelf(tmp_path / "file" / "models").add(model_file)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(shelf, model_file):
    shelf.root.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="choose another folder"):
        shelf.add(model_file)


def test_a_card_of_a_newer_version_is_told(shelf, model_file):
    shelf.add(model_file)
    path = shelf.root / "toy" / CARD
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(ModelError, match="update napari-fewshot"):
        shelf.read("toy")
    assert "toy" not in [c.name for c in shelf.cards()] and "update napari-fewshot" in shelf.faults()["toy"]


@pytest.mark.parametrize("at", range(40, 200, 20))
def test_a_damaged_zip_is_told_and_nothing_is_saved(shelf, model_file, tmp_path, at):
    shelf.add(model_file)
    content = bytearray(shelf.export("toy", tmp_path / "toy.zip").read_bytes())
    content[at] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(content)
    before = len(shelf.cards())
    try:
        card = shelf.import_model(tmp_path / "bad.zip")
    except ModelError:
        assert len(shelf.cards()) == before
    else:  # the byte was one that zip readers do not look at
        assert shelf.read(card.name).weights == model_file.weights


def test_numbered_names_stay_short_enough_to_be_read(shelf, model_file):
    long = replace(model_file, card=model_file.card.renamed("n" * 80))
    names = [shelf.add(long).name for _ in range(3)]
    assert len(set(names)) == 3 and all(shelf.read(n) for n in names)


def test_what_a_cut_off_write_left_is_not_listed(shelf, model_file):
    write_model(model_file, shelf.root / ".part-x")
    assert "toy" not in [c.name for c in shelf.cards()]


def test_an_export_that_fails_leaves_nothing_and_can_be_tried_again(shelf, model_file, tmp_path, monkeypatch):
    shelf.add(model_file)
    target = tmp_path / "far" / "away.zip"

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", full)
        with pytest.raises(StorageError, match="No space left"):
            shelf.export(model_file.card.name, target)
    assert [*target.parent.iterdir()] == []
    assert shelf.export(model_file.card.name, target) == target and target.is_file()
