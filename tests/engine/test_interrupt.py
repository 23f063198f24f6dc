"""A call of a network is given up at its next layer."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from napari_fewshot.engine.interrupt import interruptible
from napari_fewshot.engine.listen import Silent, StopRequested


class Impatient(Silent):
    """Wants to stop from its ``n``-th look on."""

    def __init__(self, n: int) -> None:
        self.n = n

    def stopped(self) -> bool:
        self.n -= 1
        return self.n < 0


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))


def test_a_stop_is_answered_before_the_next_layer_and_leaves_no_hook(network: nn.Sequential) -> None:
    seen: list[int] = []
    for i, layer in enumerate(network):
        layer.register_forward_hook(lambda *_, i=i: seen.append(i))
    with pytest.raises(StopRequested), interruptible(Impatient(3), network):
        network(torch.zeros(1, 4))
    assert seen == [0, 1]
    assert network(torch.zeros(1, 4)).shape == (1, 4)


def test_another_thread_is_not_interrupted(network: nn.Sequential) -> None:
    found: list[torch.Tensor] = []
    with interruptible(Impatient(0), network):
        thread = threading.Thread(target=lambda: found.append(network(torch.zeros(1, 4))))
        thread.start()
        thread.join()
    assert len(found) == 1
