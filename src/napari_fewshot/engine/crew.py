"""Several processes that train one network, each on a GPU of its own, through Hugging Face accelerate. Knows no task."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from napari_fewshot.core.errors import ComputeError


class Crew(Protocol):
    """What one of several processes needs of the others."""

    rank: int

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in each of them."""
        ...


class Alone:
    """A crew of one."""

    rank = 0

    def mean(self, value: Tensor) -> Tensor:
        return value


ALONE = Alone()


class Together:
    """The processes that ``accelerate launch`` or ``torchrun`` started.

    Raises
    ------
    ComputeError
        accelerate is not installed.
    """

    def __init__(self, on_cpu: bool) -> None:
        try:
            from accelerate import Accelerator
        except ImportError:
            raise ComputeError(
                "training in several processes needs accelerate: pip install 'napari-fewshot[pretrain]'"
            ) from None
        self.accelerator: Any = Accelerator(cpu=on_cpu)
        self.rank: int = self.accelerator.process_index
        self.device = str(self.accelerator.device)

    def mean(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value.detach().to(self.device), "mean").to(value.device)


def n_processes() -> int:
    """How many processes this one was started with."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agreed(crew: Crew, value: float) -> float:
    """The mean of what each process thinks, so that clocks that differ do not part them; all have to ask."""
    return value if crew is ALONE else float(crew.mean(torch.tensor(value, dtype=torch.float64)))


def average_gradients(crew: Crew, parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over all processes, in one message."""
    if crew is ALONE:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    together = crew.mean(torch.cat([g.flatten() for g in grads]))
    for grad, mean in zip(grads, torch.split(together, [g.numel() for g in grads]), strict=True):
        grad.copy_(mean.view_as(grad))
