"""Restored region by region a plane is what it is in one piece, keeps its mean, and takes no more memory the larger it is."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from napari_fewshot import samples
from napari_fewshot.core import intensity
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.engine import background, blend, noise, restorer
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import Silent
from napari_fewshot.engine.restoration import restore_plane

SPAN = 200.0


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    """(400, 360) float32 of some 20 to 220 grey levels, on an uneven background."""
    clean = samples.image("superalloy")[:400, :360].astype(np.float64)
    uneven = 15 * np.sin(np.mgrid[:400, :360][0] / 50)
    return (20 + 0.6 * clean + uneven + np.random.default_rng(0).normal(0, 10, clean.shape)).astype(np.float32)


def generator(name: str) -> Generator:
    return Generator.from_file(Shelf().read(name))


@pytest.mark.parametrize(
    ("name", "strength", "most", "on_average"),
    [
        ("em-denoise", 1.0, 1e-6, 1e-6),
        ("em-denoise", 2.0, 0.02, 0.002),  # the noise of each scale is measured on one region
        ("em-background", 1.0, 0.05, 0.01),  # a region does not see all of the background
        ("em-superres-x2", 1.0, 1.0, 0.001),  # which pixels are outliers is told in each region
    ],
)
def test_regions_leave_no_trace(
    name: str, strength: float, most: float, on_average: float, noisy: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, wishes = generator(name), Restoring(strength, uncertainty=strength == 1, background=True)
    whole = restore_plane(network, noisy, wishes)
    monkeypatch.setattr(restorer, "REGION_PX", 128 * network.card.factor)
    parted = restore_plane(network, noisy, wishes)
    away = np.abs(whole.values - parted.values) / SPAN
    assert away.max() <= most and away.mean() <= on_average
    assert np.isclose(whole.report.within, parted.report.within, atol=0.02)
    assert np.isclose(whole.report.residual_sigmas, parted.report.residual_sigmas, rtol=0.05)
    level = parted.values.reshape(400, network.card.factor, 360, -1).mean((1, 3))
    np.testing.assert_allclose(level + sum(v for k, v in parted.maps.items() if k != "uncertainty"), noisy, atol=1e-2)
    if strength == 1:
        sizes = [r.maps["uncertainty"].mean() for r in (whole, parted)]
        assert np.isclose(*sizes, rtol=0.5)  # one region, smaller or larger, tells how far all may be off


@pytest.mark.parametrize(("dtype", "off"), [("float32", 1e-3), ("uint8", 0.5), ("int16", 0.5)])
def test_the_mean_is_kept_where_not_all_regions_are_known_from_the_start(
    dtype: str, off: float, noisy: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = noisy.clip(0, 255).astype(dtype)
    plane[:64] //= 8  # no region is like the others
    monkeypatch.setattr(restorer, "REGION_PX", 64)
    values = restore_plane(generator("em-denoise"), plane).values
    assert abs(values.mean(dtype=float) - plane.mean(dtype=float)) <= off


@pytest.mark.parametrize("name", ["em-denoise", "em-background", "em-superres-x2"])
def test_memory_beyond_input_and_output_does_not_grow_with_the_plane(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = generator(name)
    monkeypatch.setattr(restorer, "REGION_PX", 128)
    monkeypatch.setattr(restorer, "N_SCOUTS", 1)
    monkeypatch.setattr(noise, "MEASURE_PX", 128)
    monkeypatch.setattr(intensity, "SAMPLE_PX", 128**2)
    monkeypatch.setattr(background, "SAMPLE_PX", 128**2)
    monkeypatch.setattr(background, "REACH_PX", 16)
    monkeypatch.setattr(restorer, "CONTRAST_REACH_PX", 16)
    monkeypatch.setattr(blend, "ZOOMS", (2,))  # a quarter of the size is looked at further around than 256 px
    monkeypatch.setattr(blend, "N_OTHERS", 1)
    peaks = []
    for side in (256, 512):
        plane = np.random.default_rng(0).integers(0, 255, (side, side), np.uint8)
        tracemalloc.start()  # numpy's arrays; torch holds a tile
        values = restore_plane(network, plane).values
        peaks.append(tracemalloc.get_traced_memory()[1] - values.nbytes)
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 0.5 * 512**2


def test_progress_grows_from_region_to_region(noisy: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []

    class Hearing(Silent):
        def progress(self, done: int, total: int | None, *rest: object) -> None:
            heard.append(done / (total or 1))

    monkeypatch.setattr(restorer, "REGION_PX", 128)
    restore_plane(generator("em-denoise"), noisy, listener=Hearing())
    assert heard == sorted(heard) and heard[-1] == 1
