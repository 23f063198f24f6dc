"""Pretraining makes one usable model folder for each embedded generator, also when it is stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.shelf import read_model
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Silent
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.pretexts.episodic import LabelledSet
from napari_fewshot.engine.pretrain import Recipe, curve, pretrain
from napari_fewshot.tasks import TASKS


def recipe(image: np.ndarray, truth: np.ndarray, **changes: object) -> Recipe:
    labelled = LabelledSet("toy", (image,), (truth - 1,))
    return Recipe((Picture(image[None], "ZYX"),), (labelled,), steps=1, data="toy", command="test", **changes)  # type: ignore[arg-type]


def test_every_embedded_model_comes_out_and_works(tmp_path: Path, superalloy: tuple[np.ndarray, np.ndarray]) -> None:
    cards = {c.name: c for c in pretrain(recipe(*superalloy), tmp_path)}
    assert set(cards) == {m for t in TASKS.values() for m in t.models}
    for name, card in cards.items():
        assert card.steps == 1 and card.scores and card.command == "test"
        generator = Generator.from_file(read_model(tmp_path / name))
        if generator.has_head:
            assert predict_plane(generator, superalloy[0][:64, :64])[0].shape == (64 * card.factor,) * 2


def test_a_stop_leaves_usable_models(tmp_path: Path, superalloy: tuple[np.ndarray, np.ndarray]) -> None:
    class Stopping(Silent):
        def stopped(self) -> bool:
            return True

    cards = pretrain(recipe(*superalloy), tmp_path, Stopping())
    assert {c.name for c in cards} == {m for t in TASKS.values() if t.corrupt for m in t.models}


def test_too_small_images_name_the_cure(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="add larger images"):
        pretrain(Recipe((Picture(np.zeros((1, 20, 20)), "ZYX"),)), tmp_path)


def test_a_curve_keeps_few_points() -> None:
    assert len(curve([1.0] * 5000)) == 200 and curve([]) == () and curve([2.0]) == (2.0,)
