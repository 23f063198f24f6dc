"""One real worker for all tests of the dock, and a real viewer for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from napari_fewshot.compute import client
from napari_fewshot.compute.client import Compute

WAIT_MS = 60_000


class Relay:
    """Passes what the shared worker says to whoever holds it now."""

    def __init__(self) -> None:
        self.on_event: Callable[[object], None] = lambda event: None

    def __call__(self, event: object) -> None:
        self.on_event(event)


@pytest.fixture(scope="session")
def real_worker() -> Iterator[tuple[Compute, Relay]]:
    relay = Relay()
    compute = Compute(relay, "cpu")
    compute.start()
    compute.wait_ready(120)
    yield compute, relay
    compute.close()


@pytest.fixture
def worker(real_worker, monkeypatch) -> Compute:
    """Bridges made from now on use the real worker that is running already, and leave it running."""
    compute, relay = real_worker

    class Lease:
        def __init__(self, on_event, device="auto", remote=None, *, on_state=None):
            relay.on_event, self._on_state, self._jobs = on_event, on_state, []

        def start(self):
            self._on_state("ready")

        def submit(self, job):
            self._jobs.append(compute.submit(job))
            return self._jobs[-1]

        def close(self):
            relay.on_event = lambda event: None
            for job in self._jobs:
                compute.stop(job)

        def __getattr__(self, name):
            return getattr(compute, name)

    monkeypatch.setattr(client, "Compute", Lease)
    return compute


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(viewer, worker, qtbot):
    from napari_fewshot.ui.docks import FewshotDock

    made = FewshotDock(viewer)
    viewer.window.add_dock_widget(made, name="Few-shot", area="right")
    qtbot.waitUntil(lambda: made._bridge.state == "ready", timeout=WAIT_MS)
    yield made
    made._bridge.close()


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """A noisy (160, 192) uint8 picture of bright discs and its truth: 1 between them, 2 inside."""
    y, x = np.mgrid[:160, :192]
    inside = (((y % 64) - 32) ** 2 + ((x % 64) - 32) ** 2) < 20**2
    noise = np.random.default_rng(0).normal(0, 10, inside.shape)
    return np.clip(70 + 100 * inside + noise, 0, 255).astype(np.uint8), (1 + inside).astype(np.uint8)


@pytest.fixture
def clicks(dock, qtbot):
    """Clicks a control by its object name, as a user does."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QAbstractButton

    def click(name: str) -> None:
        found = dock.findChild(QAbstractButton, name)
        assert found is not None and found.isEnabled(), name
        qtbot.mouseClick(found, Qt.MouseButton.LeftButton)

    return click


@pytest.fixture
def wait(dock, qtbot):
    """Waits, with the event loop running, until something holds."""

    def until(condition: Callable[[], bool], timeout_ms: int = WAIT_MS) -> None:
        qtbot.waitUntil(condition, timeout=timeout_ms)

    return until


@pytest.fixture
def paint():
    """Paints short strokes of every class of a truth, as the brush does."""

    def stroke(labels, truth: np.ndarray, n: int = 4, index: tuple[int, ...] = (), seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        labels.brush_size = 5
        for k in np.unique(truth):
            where = np.argwhere(binary_erosion(truth == k, iterations=4))  # nobody paints across a border
            for y, x in where[rng.integers(0, len(where), n)]:
                labels.paint((*index, int(y), int(x)), int(k))

    return stroke
