"""The npe2 manifest is valid, names what is there, and lies where an installed package has it."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

import napari_fewshot
from napari_fewshot import samples

npe2 = pytest.importorskip("npe2")
PATH = Path(napari_fewshot.__file__).parent / "napari.yaml"


@pytest.fixture(scope="module")
def manifest():
    return npe2.PluginManifest.from_file(PATH)


def test_the_manifest_is_valid_and_its_commands_are_there(manifest):
    manifest.validate_imports()


def test_it_is_found_through_its_entry_point():
    (entry,) = [e for e in entry_points(group="napari.manifest") if e.name == "napari-fewshot"]
    assert entry.value == "napari_fewshot:napari.yaml" and PATH.is_file()


def test_the_top_level_shows_the_same_file():
    top = PATH.parents[2] / "napari.yaml"
    if not (PATH.parents[2] / "pyproject.toml").exists():
        pytest.skip("not a working tree")
    assert top.read_text("utf-8") in (PATH.read_text("utf-8"), PATH.relative_to(top.parent).as_posix())


def test_every_shipped_sample_can_be_opened_from_the_menu(manifest):
    assert {s.key for s in manifest.contributions.sample_data} == set(samples.SAMPLES)
    for sample in manifest.contributions.sample_data:
        assert sample.display_name == samples.SAMPLES[sample.key].title


def test_there_is_one_dock_named_few_shot(manifest):
    assert "Few-shot" in [w.display_name for w in manifest.contributions.widgets]
