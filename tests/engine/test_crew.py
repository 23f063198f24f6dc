"""Processes that train together have the same gradients and stop together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

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


TRAINEE = """
import sys
from pathlib import Path
import numpy as np
from napari_fewshot.core.picture import Picture
from napari_fewshot.engine.pretexts.inpaint import Inpaint
from napari_fewshot.engine.pretrain import pretrain
from napari_fewshot.engine.recipe import Recipe
from tests.engine.noting import Noting

def short(self, shared, drawn, losses=Inpaint.losses, calls=[]):
    calls.append(drawn)
    if len(calls) == 2 and is_second:
        raise MemoryError("out of memory")
    return losses(self, shared, drawn)

is_second, Inpaint.losses, listener = sys.argv[2] == "1", short, Noting()
noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
net = {"name": "residual-unet", "widths": [4, 8]}
recipe = Recipe((Picture(noise, "YX"),), pretexts={"inpaint": 1.0}, steps=3, net=net, device="cpu", n_loaders=0)
pretrain(recipe, Path(sys.argv[1]), listener)
assert is_second or any("half as much" in note for note in listener.notes)
"""


def run_both(program: str, *arguments: object) -> None:
    """Run a program in two processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    members = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments), rank], stderr=subprocess.PIPE, cwd=Path(__file__).parents[2],
            env=os.environ | common | {"RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        complaints = [member.communicate(timeout=120)[1].decode() for member in members]
    finally:
        for member in members:
            member.kill()
    assert [member.returncode for member in members] == [0, 0], complaints


def test_alone_nothing_is_changed_or_sent() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    average_gradients(ALONE, [weight])
    assert agreed(ALONE, 0.1) == 0.1 and bool((weight.grad == 1).all())


@pytest.mark.heavy
def test_two_processes_average_their_gradients_and_agree() -> None:
    pytest.importorskip("accelerate")
    run_both(MEMBER)


@pytest.mark.heavy
def test_too_little_memory_in_one_process_halves_the_step_of_both(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    run_both(TRAINEE, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["em-segment"]


def test_a_missing_accelerate_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ComputeError, match=r"napari-fewshot\[pretrain\]"):
        Together(on_cpu=True)
