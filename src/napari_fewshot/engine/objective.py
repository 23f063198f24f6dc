"""What the training loop needs of whoever uses it: what is learned, and where a long training is kept. No loop here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from napari_fewshot.engine.listen import Listener

M = TypeVar("M", bound=nn.Module)


class Objective(Protocol[M]):
    """What is learned; the loop knows how."""

    @property
    def module(self) -> M:
        """What is trained."""
        ...

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Terms of one step, already weighted; their sum is minimised."""
        ...

    def after_step(self) -> None:
        """Whatever follows an optimiser step (the discriminator's own step)."""
        ...

    def listen(self, listener: Listener) -> bool:
        """Take up what the user changed (new strokes); True when scores so far no longer compare."""
        ...

    def score(self, module: M) -> float | None:
        """Quality of averaged weights on what was held out, higher is better; None when it cannot be judged."""
        ...

    def show(self, module: M, listener: Listener) -> None:
        """Send a preview if one is wanted."""
        ...

    def shrink(self) -> bool:
        """Ask for less memory per step; False when nothing is left to give."""
        ...


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a training needs to go on as if it had never stopped; each state is what torch's ``state_dict`` gives."""

    states: dict[str, dict[str, Any]]
    numbers: dict[str, Any]


class Keeper(Protocol):
    """Keeps snapshots of a long training where they outlive the process."""

    def load(self) -> Snapshot | None:
        """Where to go on; None starts anew."""
        ...

    def save(self, snapshot: Snapshot) -> None: ...
