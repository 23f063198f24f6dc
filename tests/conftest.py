"""What all tests share: models of the user go to a temporary folder; toy pictures whose truth is known."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.shelf import HOME_VARIABLE, ModelFile


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n`` a file stays in one process; where all share one screen, so do those that open windows, which fight for the keys."""
    from xdist.scheduler import LoadScopeScheduling

    own_screens = sys.platform == "linux" and shutil.which("Xvfb") is not None  # pytest-xvfb gives each process one

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            has_windows = path.startswith("tests/ui/") or nodeid.endswith("::test_open_dock")
            return "windows" if has_windows and not own_screens else path

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the models of whoever runs it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv(HOME_VARIABLE, str(folder))
    return folder


@pytest.fixture
def few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretraining on a ninth of the pixels, judged and summed up by a few draws: for claims that are not about how many."""
    from napari_fewshot.engine import spectra
    from napari_fewshot.engine.pretexts import contrast, episodes, episodic, hybrid, inpaint, restore

    for module in (restore, inpaint, episodes):
        monkeypatch.setattr(module, "SIDE_PX", 64)
    monkeypatch.setattr(episodes, "SCENE_PX", 96)
    monkeypatch.setattr(episodes, "CLUSTERED_PX", 96)
    for module in (restore, inpaint, hybrid, episodic, contrast):
        monkeypatch.setattr(module, "N_JUDGED", 1)
    monkeypatch.setattr(spectra, "N_DRAWS", 2)


@pytest.fixture
def disc() -> tuple[np.ndarray, np.ndarray]:
    """A noisy bright disc, (96, 128) uint8, and its truth: 1 outside, 2 inside."""
    y, x = np.ogrid[:96, :128]
    inside = (y - 48) ** 2 + (x - 70) ** 2 < 30**2
    noise = np.random.default_rng(0).normal(0, 12, inside.shape)
    return np.clip(80 + 90 * inside + noise, 0, 255).astype(np.uint8), (1 + inside).astype(np.uint8)


@pytest.fixture
def model_file() -> ModelFile:
    """A sealed model file whose weights are no network's."""
    return ModelFile.sealed(ModelCard("toy", "denoise", {"name": "none"}), b"weights")


@pytest.fixture
def double_card() -> ModelCard:
    """The card of a model that answers twice as finely."""
    return replace(ModelCard("toy-x2", "super_resolve", {"name": "none"}), factor=2)
