"""A target on any grey scale teaches what its image shows; one that shows something else is refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.job import Budget
from napari_fewshot.engine.fine_tune import fine_tune_restore
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.target import Match, match_to, on_scale
from napari_fewshot.tasks.degrade import bin_down
from tests.engine.noting import Noting

Pair = tuple[np.ndarray, np.ndarray]


def texture(seed: int, shape: tuple[int, int] = (200, 240)) -> np.ndarray:
    """Blobs of some 6 px, mean 120, standard deviation 30."""
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return 120 + 30 * rough / rough.std()


def noise(seed: int, shape: tuple[int, int] = (200, 240)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 25, shape)


@pytest.fixture
def pair() -> Pair:
    clean = texture(0)
    return clean + noise(1), clean


def test_a_target_on_the_scale_of_its_image_stays_as_it_is(pair: Pair) -> None:
    assert match_to(*pair, 1, False) == Match()
    frame = pair[1] + noise(2)  # as noisy as the image
    assert match_to(pair[0], frame, 1, False) == Match()


@pytest.mark.parametrize(("gain", "offset"), [(1 / 255, 0.0), (100.0, 0.0), (1.0, 1000.0), (0.5, -64.0), (64.0, -5e4)])
def test_a_target_on_another_scale_is_brought_to_that_of_its_image(gain: float, offset: float, pair: Pair) -> None:
    image, clean = pair
    for target in (clean, clean + noise(2)):  # a sum of a few frames has noise of its own
        match = match_to(image, target * gain + offset, 1, False)
        assert np.std(match.of(clean * gain + offset) - clean) < 2
        assert abs(np.mean(match.of(clean * gain + offset) - clean)) < 2


def test_an_image_with_nothing_in_its_middle_is_not_taken_for_one_of_opposite_contrast() -> None:
    target = texture(0, (700, 700))
    image = target.copy()
    image[90:610, 90:610] = 7.0
    with pytest.raises(PictureError, match=r"constant in its middle of 512 px.*crop both"):
        match_to(image, target, 1, False)


def test_an_offset_of_nothing_is_none(pair: Pair) -> None:
    match = match_to(pair[1], pair[1] / 255, 1, False)
    assert match.offset == 0 and match.spoken(has_level=True) == "x 255"


def test_pixels_that_are_not_finite_and_hot_ones_change_nothing(pair: Pair) -> None:
    image, target = pair[0].copy(), 3 * pair[1] + 50
    image[:50], image[60, ::9], target[:, :70], target[100, ::5] = np.nan, 1e5, np.nan, 1e6
    match = match_to(image, target, 1, False)
    assert match.gain == pytest.approx(1 / 3, rel=0.05) and match.offset == pytest.approx(-50 / 3, abs=4)


def test_the_target_of_a_super_resolution_is_compared_as_its_image_sees_it() -> None:
    fine = texture(3, (256, 320))
    image = bin_down(fine, 2) + noise(4, (128, 160))
    match = match_to(image, fine * 10, 2, False)
    assert match.gain == pytest.approx(0.1, rel=0.05)


def test_a_target_without_the_background_of_its_image_is_matched_by_what_is_finer() -> None:
    y, x = np.mgrid[:200, :240]
    clean = texture(0)
    image = clean + noise(1) + 150 * np.sin(x / 60) * np.cos(y / 50)
    assert match_to(image, clean / 100, 1, True).gain == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize(
    ("spoil", "cure"),
    [
        (lambda clean: np.full_like(clean, 3), "constant"),
        (lambda clean: np.full_like(clean, np.nan), "no finite pixel"),
        (lambda clean: 255 - clean, "opposite contrast"),
        (lambda clean: texture(9), "does not show what the image does"),
        (lambda clean: np.roll(clean, (-9, 20), (0, 1)), "9 px below and 20 px to the left of it: align"),
    ],
    ids=["constant", "nan", "inverted", "unrelated", "shifted"],
)
@pytest.mark.parametrize("has_background", [False, True])
def test_a_target_that_shows_something_else_is_refused(spoil, cure: str, has_background: bool, pair: Pair) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PictureError, match=cure):
        match_to(pair[0], spoil(pair[1]), 1, has_background)


def test_a_bad_pair_among_good_ones_is_left_out_and_told(pair: Pair) -> None:
    image, clean = pair
    heard = Noting()
    found = on_scale([(image, clean), (image, texture(9)), (image, None)], 1, False, heard)
    assert len(found) == 2 and found[0][1] is clean and found[1][1] is None
    assert len(heard.notes) == 1 and "1 of 3 pairs are left out: the target does not show" in heard.notes[0]
    with pytest.raises(PictureError, match="does not show"):
        on_scale([(image, texture(9)), (image, None)], 1, False, heard)


def test_a_result_stays_in_the_units_of_the_image_whatever_those_of_the_target(denoiser: Generator, pair: Pair) -> None:
    image, clean = (plane.astype(np.float32) for plane in pair)
    heard = Noting()
    tuned = fine_tune_restore(denoiser, [(image, clean / 255)], Budget(steps=20), listener=heard)
    values = predict_plane(tuned, image)[0]
    assert 0.7 * clean.std() < values.std() < 1.1 * clean.std()
    assert any("another scale: brought to the image's by x 25" in note for note in heard.notes)
