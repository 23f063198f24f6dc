"""Real embedded generators and a real micrograph for the engine's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import napari_fewshot.samples as samples
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.engine.generator import Generator

SAMPLES = Path(samples.__file__).parent


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def superalloy() -> tuple[np.ndarray, np.ndarray]:
    """A crop of the shipped superalloy micrograph, (256, 256) uint8, and its truth 1 .. K."""
    image, truth = (tifffile.imread(SAMPLES / f"superalloy{s}.tif") for s in ("", "_truth"))
    image, truth = (a[0] if a.ndim == 3 else a for a in (image, truth))
    truth = truth[:256, :256].astype(np.uint8)
    return image[:256, :256], truth + (1 if truth.min() == 0 else 0)


@pytest.fixture
def segmenter() -> Generator:
    return Generator.from_file(Shelf().read("em-segment"))


@pytest.fixture
def denoiser() -> Generator:
    return Generator.from_file(Shelf().read("em-denoise"))
