"""Places worth learning from: balanced by source, none empty, none twice; and the patches drawn from them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot.core.errors import PictureError
from napari_fewshot.core.picture import Picture
from napari_fewshot.engine.listen import StopRequested
from napari_fewshot.engine.patches import Patches
from napari_fewshot.engine.windows import described, difference_hash, find_windows, hold_out, source_of
from tests.engine.noting import Noting


def texture(seed: int, side: int = 256, blob: int = 16) -> np.ndarray:
    """Square blobs, uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // blob, side // blob))
    return np.kron(coarse, np.ones((blob, blob))).astype(np.uint8)


def picture(planes: list[np.ndarray], name: str) -> Picture:
    return Picture(np.stack(planes), "ZYX", name)


def test_a_hash_outlasts_noise_and_contrast_and_tells_places_apart() -> None:
    image = texture(0).astype(np.float32)
    noisy = 0.5 * image + 30 + np.random.default_rng(1).normal(0, 20, image.shape)
    near, far = (int(np.bitwise_count(difference_hash(image) ^ difference_hash(o))) for o in (noisy, texture(2)))
    assert near < 5 < 20 < far


def test_near_duplicates_and_empty_places_are_left_out() -> None:
    noise = np.random.default_rng(0)
    planes = [np.clip(texture(0) + noise.normal(0, 5, (256, 256)), 0, 255).astype(np.uint8) for _ in range(6)]
    empty = np.where(noise.random((256, 256)) < 1e-3, 255, 100).astype(np.uint8)
    (kept,) = find_windows([picture([*planes, empty, texture(1)], "stack_1.tif")]).values()
    assert [w.index for w in kept] == [(0,), (7,)]


def test_what_shows_nothing_is_named() -> None:
    spike = np.zeros((99, 99), np.float32)
    spike[5, 5] = 1e9
    useless = [spike, np.full((99, 99), np.nan), np.ones((99, 99)), texture(1)[:50]]
    pictures = [Picture(data, "YX", f"useless{i}") for i, data in enumerate(useless)]
    listener = Noting()
    found = find_windows([Picture(texture(0), "YX", "own.tif"), *pictures], listener)
    assert described(found) == "1 planes of own"
    assert "nothing of useless0, useless1, useless2, useless3 is used" in listener.notes[-1]


def test_of_few_planes_none_is_held_out() -> None:
    found = find_windows([picture([texture(i, 64, 4) for i in range(10)], "few.tif")])
    train, judged = hold_out(found)
    assert train == found and not judged


def test_a_large_plane_has_many_windows() -> None:
    (kept,) = find_windows([Picture(texture(0, 1024), "YX", "large.tif")]).values()
    assert len(kept) == 16 and kept[-1].origin == (768, 768)


@pytest.mark.parametrize(
    ("name", "source"),
    [("emps_03.tif", "emps"), ("fib-12.ome.zarr", "fib"), ("2024.tif", "2024.tif"), ("x", "x"), ("a 7", "a")],
)
def test_a_source_is_what_differs_in_its_last_number_only(name: str, source: str) -> None:
    assert source_of(name) == source


def test_sources_are_balanced_and_the_judged_planes_never_trained_on() -> None:
    many = picture([texture(i, 64, 4) for i in range(100)], "many_1.tif")
    few = picture([255 - texture(i + 100, 64, 4) for i in range(4)], "few_1.tif")
    train, judged = hold_out(find_windows([many, few]))
    places = [{(s, w.index) for s, windows in part.items() for w in windows} for part in (train, judged)]
    assert not places[0] & places[1] and len(places[1]) == 5
    shares = Patches(train).shares
    assert shares[1] == pytest.approx(1 / 6, abs=0.02)  # 2 : 10, the square roots of 4 : 100


class Lendable:
    """The array of a file that can be taken away."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.dtype, self.is_there = data, data.shape, data.dtype, True

    def __getitem__(self, where: object) -> np.ndarray:
        if not self.is_there:
            raise OSError("no such file")
        return np.asarray(self.data[where])  # type: ignore[index]


def test_a_file_that_is_taken_away_is_named_once_and_others_are_drawn() -> None:
    lent, listener, rng = Lendable(texture(0)), Noting(), np.random.default_rng(0)
    pictures = [Picture(lent, "YX", "lent.tif"), Picture(texture(1), "YX", "own.tif")]
    patches = Patches(find_windows(pictures), listener)
    lent.is_there = False
    assert all(patches.draw(64, rng).std() > 0 for _ in range(20))
    assert listener.notes == ["lent.tif can no longer be read (no such file): the training goes on with the others"]
    lent.is_there = True
    own = {patches.draw(256, rng, shrink=0.0).tobytes() for _ in range(60)}
    assert len(own) == 16  # the symmetries of both


def test_a_stop_is_heard_between_patches() -> None:
    patches = Patches(find_windows([Picture(texture(0), "YX", "own.tif")]), Noting(stop_after=0))
    with pytest.raises(StopRequested):
        patches.draw(64, np.random.default_rng(0))


def test_where_no_file_is_left_it_is_said() -> None:
    lent = Lendable(texture(0))
    patches = Patches(find_windows([Picture(lent, "YX", "lent.tif")]))
    lent.is_there = False
    with pytest.raises(PictureError, match="see whether their disk is there"):
        patches.draw(64, np.random.default_rng(0))


def test_patches_have_their_size_whatever_the_picture_has() -> None:
    windows = find_windows(
        [Picture(texture(0)[:100, :90], "YX", "small.tif"), Picture(texture(1, 512), "YX", "large.tif")]
    )
    patches, rng = Patches(windows), np.random.default_rng(0)
    drawn = np.stack([patches.draw(128, rng) for _ in range(20)])
    assert drawn.shape == (20, 128, 128) and drawn.dtype == np.float32 and drawn.std((1, 2)).min() > 0.03
