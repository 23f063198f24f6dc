import os
from pathlib import Path

import numpy as np
import pytest

from napari_fewshot import samples

FOLDER = Path(samples.__file__).parent


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_a_sample_is_a_picture_with_a_truth_of_its_named_classes(name):
    image, truth, classes = samples.image(name), samples.truth(name), samples.SAMPLES[name].classes
    assert image.dtype == np.uint8 and min(image.shape[-2:]) >= 250 and image.std() > 5
    if not classes:
        assert truth is None
        return
    assert truth.shape == image.shape
    assert np.unique(truth).tolist() == list(range(1, len(classes) + 1))


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_each_sample_has_a_function_for_the_manifest(name):
    (image, options, kind), *others = getattr(samples, name)()
    assert kind == "image" and options["name"] == samples.SAMPLES[name].title
    for labels, place, other_kind in others:
        assert other_kind == "labels" and labels.shape == image.shape and not place["visible"]
        assert {k: place.get(k) for k in ("scale", "units")} == {k: options.get(k) for k in ("scale", "units")}


def test_there_are_four_modalities_in_four_megabytes_with_their_licences():
    assert len(samples.SAMPLES) >= 4
    assert sum(os.path.getsize(p) for p in FOLDER.glob("*.tif")) < 4_000_000
    text = (FOLDER / "SAMPLES.md").read_text("utf-8")
    assert all(f"`{name}`" in text for name in samples.SAMPLES)
    assert "vnc" not in " ".join(p.name for p in FOLDER.iterdir())
    known = {f"{n}{s}.tif" for n, v in samples.SAMPLES.items() for s in ("", *(["_truth"] * bool(v.classes)))}
    assert {p.name for p in FOLDER.glob("*.tif")} == known
