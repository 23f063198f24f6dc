"""Processes that train together have the same gradients and stop together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from napari_fewshot.core.errors import ComputeError
from napari_fewshot.engine.crew import ALONE, Together, agreed, average_gradients

MEMBER = """
import torch
from napari_fewshot.engine.crew import Together, agreed, average_gradients
crew = Together(on_cpu=True)
weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.zeros(1))]
for weight in weights[:2]:
    weight.grad = torch.full_like(weight, 1.0 + 2 * crew.rank)
average_gradients(crew, weights)
assert all((w.grad == 2).all() for w in weights[:2]) and weights[2].grad is None
assert agreed(crew, crew.rank == 1) > 0
torch.distributed.destroy_process_group()
"""


def test_alone_nothing_is_changed_or_sent() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    average_gradients(ALONE, [weight])
    assert agreed(ALONE, 0.1) == 0.1 and bool((weight.grad == 1).all())


@pytest.mark.heavy
def test_two_processes_average_their_gradients_and_agree() -> None:
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER], env=os.environ | common | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE
        )
        for rank in "01"
    ]  # fmt: skip
    complaints = [member.communicate(timeout=120)[1].decode() for member in members]
    assert [member.returncode for member in members] == [0, 0], complaints


def test_a_missing_accelerate_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ComputeError, match=r"napari-fewshot\[pretrain\]"):
        Together(on_cpu=True)
