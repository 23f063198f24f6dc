"""A real worker process for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from napari_fewshot.compute import client
from napari_fewshot.compute.client import Compute
from napari_fewshot.core.job import Job
from tests.compute.acts import PATIENCE_S, Act, ActErrand, Ear


@pytest.fixture(autouse=True, scope="session")
def acts() -> Iterator[None]:
    """Let a `Compute` take acts for jobs."""
    real = client.errand_for

    def errand_for(job: Job | Act, order: Any, tell: Any) -> Any:
        return ActErrand(order, tell, job) if isinstance(job, Act) else real(job, order, tell)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "errand_for", errand_for)
        yield


@pytest.fixture(scope="session")
def heard() -> Ear:
    return Ear()


@pytest.fixture(scope="session")
def running(heard: Ear, acts: None) -> Iterator[Compute]:
    with Compute(heard, "cpu") as compute:
        compute.wait_ready(PATIENCE_S)
        yield compute


@pytest.fixture
def ear(heard: Ear) -> Iterator[Ear]:
    """What the shared `compute` tells."""
    yield heard
    heard.check()


@pytest.fixture
def compute(running: Compute) -> Compute:
    """A compute that is ready, with a real worker process; shared by all tests."""
    running.wait_ready(PATIENCE_S)
    return running
