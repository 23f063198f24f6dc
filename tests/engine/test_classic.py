"""The classic generator learns, predicts, saves and refuses like any other, with scikit-learn's own answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import ExtraTreesClassifier

from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget
from napari_fewshot.core.scores import mean_iou
from napari_fewshot.core.shelf import ModelFile, Shelf
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.forest import Forest
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.predict import predict_plane

Sample = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def fitted(superalloy: Sample) -> Generator:
    classic = Generator.from_file(Shelf().read("classic"))
    return fine_tune_segment(classic, painting_of([superalloy[0]], [simulate_strokes(superalloy[1], 4)]), Budget())


def test_a_forest_on_hand_made_features_segments_a_micrograph(fitted: Generator, superalloy: Sample) -> None:
    values, sure = predict_plane(fitted, superalloy[0], confidence=True)
    assert mean_iou(values, superalloy[1]) > 0.5 and values.dtype == np.uint8
    assert sure is not None and 1 / 3 <= sure.min() <= sure.max() <= 1
    assert fitted.has_head and fitted.card.scores["held-out stroke IoU"] > 0.3


def test_its_answers_are_those_of_scikit_learn_on_scikit_images_features(superalloy: Sample) -> None:
    image, painted = superalloy[0], simulate_strokes(superalloy[1], 2)
    unit = Intensity.measure(image).to_unit(image)
    x = multiscale_basic_features(unit, sigma_min=0.7, sigma_max=16)
    known = painted > 0
    peer = ExtraTreesClassifier(100, min_samples_leaf=2, class_weight="balanced", random_state=3)
    peer.fit(x[known], painted[known] - 1)
    ours = Forest.grow("extra-trees", x[known], painted[known] - 1, seed=3)
    pixels = x[::9, ::9].reshape(-1, x.shape[-1])
    np.testing.assert_allclose(np.exp(ours.scores(pixels)), peer.predict_proba(pixels), atol=2e-4)


def test_a_saved_forest_holds_no_pickle_and_answers_the_same(fitted: Generator, superalloy: Sample) -> None:
    model = fitted.to_file()
    assert {"head.sizes", "head.links", "head.thresholds", "head.shares"} == set(load(model.weights))
    again = Generator.from_file(model)
    assert again.card.net["name"] == "classic" and again.card.parent == Shelf().read("classic").card.id
    np.testing.assert_array_equal(predict_plane(again, superalloy[0])[0], predict_plane(fitted, superalloy[0])[0])


def test_tiles_do_not_show(fitted: Generator, superalloy: Sample) -> None:
    whole, _ = predict_plane(fitted, superalloy[0], tile_px=512)
    tiled, _ = predict_plane(fitted, superalloy[0], tile_px=128)
    np.testing.assert_array_equal(whole, tiled)


def test_the_same_seed_grows_the_same_forest(disc: Sample) -> None:
    classic = Generator.from_file(Shelf().read("classic"))
    painting = painting_of([disc[0]], [simulate_strokes(disc[1], 2)])
    first, second = (fine_tune_segment(classic, painting, Budget(), seed=4) for _ in range(2))
    assert first.card.sha256 == second.card.sha256 and not classic.has_head


def test_trees_that_point_astray_are_refused_instead_of_walked(fitted: Generator, superalloy: Sample) -> None:
    tensors = load(fitted.to_file().weights)
    tensors["head.links"][0, 0] = 10**6
    broken = ModelFile.sealed(replace(fitted.card), save(tensors))
    with pytest.raises(ModelError, match="damaged"):
        predict_plane(Generator.from_file(broken), superalloy[0])
    card = replace(fitted.card, net={"name": "classic", "n_trees": "many"})
    with pytest.raises(ModelError, match="how large"):
        Generator.from_file(ModelFile.sealed(card, save({"head.sizes": torch.zeros(0)})))
