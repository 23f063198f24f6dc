"""The only training loop: steps, stop, best so far, averaged weights, recovery. Knows no task and no network."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_fewshot.core.errors import ComputeError, StorageError
from napari_fewshot.engine.crew import ALONE, Crew, agreed, average_gradients
from napari_fewshot.engine.device import as_memory_error
from napari_fewshot.engine.interrupt import interruptible
from napari_fewshot.engine.listen import Listener, StopRequested
from napari_fewshot.engine.objective import Keeper, M, Objective, Snapshot
from napari_fewshot.engine.schedule import Schedule

LISTEN_S = 0.5  # between looks for new strokes: a hand that paints sends some with every move of the brush
STEPS_A_LOOK = 10  # where steps alone are the budget
LOOK_SHARE = 3.0  # looks take at most a quarter of the time


@dataclass
class Fitted(Generic[M]):
    """What came of it: the averaged, best weights are in ``module``; ``error`` is what ended it before its time."""

    module: M
    steps: int = 0
    seconds: float = 0.0
    best: float | None = None
    losses: list[float] = field(default_factory=list)
    stopped: bool = False
    error: Exception | None = None


def fit(
    objective: Objective[M],
    schedule: Schedule,
    listener: Listener,
    rng: np.random.Generator,
    started: float | None = None,
    keeper: Keeper | None = None,
    crew: Crew = ALONE,
) -> Fitted[M]:
    """Train until the budget is spent or the listener stops it, and return the best averaged weights.

    Parameters
    ----------
    started : float or None
        `time.perf_counter` at which the budget's seconds began.
    keeper : Keeper or None
        Given, snapshots are kept after each look and at the end, and a kept one is gone on from.
    crew : Crew
        Processes that train together: their gradients are averaged.

    Raises
    ------
    ComputeError
        Not enough memory for the smallest step, or no finite loss even after lowering the rate. After some steps it is
        what ended them; so is, where there is a keeper, whatever else goes wrong.
    """
    return _Loop(objective, schedule, listener, rng, started or time.perf_counter(), keeper, crew).run()


class _Loop(Generic[M]):
    """State of one training; guards that ``best`` is never replaced by worse."""

    def __init__(
        self, objective: Objective[M], schedule: Schedule, listener: Listener, rng: np.random.Generator,
        started: float, keeper: Keeper | None, crew: Crew,
    ) -> None:  # fmt: skip
        self.objective, self.schedule, self.listener = objective, schedule, listener
        self.rng, self.started, self.keeper, self.crew = rng, started, keeper, crew
        self.rate = schedule.rate
        self.optimizer = self._new_optimizer()
        self.fitted = Fitted(objective.module)
        self.looked = started
        self.look_cost_s = 0.0
        self.listened = 0.0
        self.recoveries = 0
        if keeper and (snapshot := keeper.load()):
            self._resume(snapshot)

    @cached_property
    def average(self) -> AveragedModel:
        """The averaged weights; not made before they are needed, as whoever waits for the first look needs none."""
        decay = get_ema_multi_avg_fn(self.schedule.average)  # type: ignore[no-untyped-call]
        return AveragedModel(self.objective.module, multi_avg_fn=decay, use_buffers=True)

    def run(self) -> Fitted[M]:
        self._with_room(self._look)
        try:
            while not self._is_over():
                self._advance()
        except Exception as error:  # hours of training are worth more than knowing why they ended
            if not self.fitted.steps or not (self.keeper or isinstance(error, ComputeError)):
                raise
            self.fitted.error = error
            self.listener.note(f"{error}; the best so far is kept")
        self._keep()
        has_news = self.objective.listen(self.listener)  # the last strokes count too
        if self.fitted.steps and (self.keeper or not self.fitted.stopped):  # a user's stop is answered at once
            if has_news:
                self._with_room(self._look_again)
            self._with_room(self._look)
        self.fitted.seconds = time.perf_counter() - self.started
        return self.fitted

    def _advance(self) -> None:
        """Hear the user, take a step, look at times."""
        if time.perf_counter() - self.listened >= max(LISTEN_S, LOOK_SHARE * self.look_cost_s):
            self.listened = time.perf_counter()
            if self.objective.listen(self.listener):
                self._with_room(self._look_again)
        values = self._step()
        if values is None:
            return
        self.fitted.steps += 1
        self.fitted.losses.append(sum(values.values()))
        if self._is_time_to_look():
            self._with_room(self._look)
            self._keep()
        self._report(values)

    def _is_time_to_look(self) -> bool:
        budget = self.schedule.budget
        if self.keeper is None and budget.steps is not None and budget.seconds is None:
            return self.fitted.steps % STEPS_A_LOOK == 0  # a look takes new samples: the same seed, the same result
        return time.perf_counter() - self.looked >= max(self.schedule.look_s, LOOK_SHARE * self.look_cost_s)

    def _step(self) -> dict[str, float] | None:
        """One optimiser step; None when it had to be given up."""
        self._part()
        try:
            with as_memory_error():
                terms = self._optimise()
        except MemoryError as error:
            self._make_room(error)
            return None
        except StopRequested:
            return None
        if terms is None:
            self._recover()
            return None
        self.average.update_parameters(self.objective.module)
        return {k: float(v.detach()) for k, v in terms.items()}

    def _optimise(self) -> dict[str, Tensor] | None:
        for group in self.optimizer.param_groups:
            group["lr"] = agreed(self.crew, self._rate_now())
        self.optimizer.zero_grad(set_to_none=True)
        shortage: MemoryError | None = None
        try:
            with as_memory_error(), self._in_a_hurry(self.objective.module):
                terms = self.objective.losses(self.rng)
                total = torch.stack(list(terms.values())).sum()
                total.backward()  # type: ignore[no-untyped-call]
        except MemoryError as error:
            shortage = error
        if agreed(self.crew, shortage is not None) > 0:  # in any process: the others would wait for its gradients
            raise shortage or MemoryError("another process has too little memory")
        if not torch.isfinite(self.crew.mean(total)):
            return None
        average_gradients(self.crew, self.objective.module.parameters())
        if not torch.isfinite(nn.utils.clip_grad_norm_(self.objective.module.parameters(), 1.0)):
            return None
        self.optimizer.step()
        self.objective.after_step()
        return terms

    def _look(self) -> None:
        """Score the averaged weights, keep them when they are the best so far, show them when asked."""
        began = time.perf_counter()
        module: M = self.average.module if self.fitted.steps else self.objective.module  # type: ignore[assignment]
        with suppress(StopRequested), self._in_a_hurry(module, self.fitted.module):
            found = self.objective.score(module)
            score = _finite(found)
            is_lost = found is not None and score is None and self.fitted.best is not None
            if not is_lost and self._is_best(score):
                self.fitted.best = score
                self.fitted.module.load_state_dict(module.state_dict())
            self.objective.show(self.fitted.module, self.listener)
        self.looked = time.perf_counter()
        self.look_cost_s = self.looked - began

    def _is_best(self, score: float | None) -> bool:
        if score is None or self.fitted.best is None:
            return self.schedule.trusts_unjudged or not self.fitted.steps
        return score >= self.fitted.best + self.schedule.margin

    def _in_a_hurry(self, *modules: nn.Module) -> AbstractContextManager[None]:
        """A stop is answered at once: a user's when there is a result; a long training's, which keeps one, before that."""
        can_leave = self.fitted.steps == 0 if self.keeper else self.fitted.steps > 0
        return interruptible(self.listener, *modules) if can_leave and self.crew is ALONE else nullcontext()

    def _keep(self) -> None:
        if self.keeper is None or self.crew.rank:
            return
        modules: dict[str, nn.Module] = {
            "module": self.objective.module,
            "average": self.average,
            "best": self.fitted.module,
        }
        states = {name: dict(module.state_dict()) for name, module in modules.items()}
        numbers = {
            "steps": self.fitted.steps,
            "seconds": time.perf_counter() - self.started,
            "best": self.fitted.best,
            "losses": self.fitted.losses,
            "rate": self.rate,
            "recoveries": self.recoveries,
            "rng": self.rng.bit_generator.state,
        }
        try:
            self.keeper.save(Snapshot(states | {"optimizer": self.optimizer.state_dict()}, numbers))
        except StorageError as error:  # hours of training are worth more than a checkpoint
            self.listener.note(f"{error}; the training goes on meanwhile")

    def _part(self) -> None:
        """From now on the best is not what is trained."""
        if self.fitted.module is self.objective.module:
            self.fitted.module = copy.deepcopy(self.objective.module)

    def _resume(self, snapshot: Snapshot) -> None:
        self._part()
        states, numbers = snapshot.states, snapshot.numbers
        self.objective.module.load_state_dict(states["module"])
        self.average.load_state_dict(states["average"])
        self.fitted.module.load_state_dict(states["best"])
        self.optimizer.load_state_dict(states["optimizer"])
        self.fitted.steps, self.fitted.best = numbers["steps"], numbers["best"]
        self.fitted.losses = list(numbers["losses"])
        self.rate, self.recoveries = numbers["rate"], numbers["recoveries"]
        self.rng.bit_generator.state = numbers["rng"]
        self.started -= numbers["seconds"]

    def _look_again(self) -> None:
        """Earlier scores do not compare any more: judge the best anew, and show it."""
        self.fitted.best = _finite(self.objective.score(self.fitted.module))
        self.objective.show(self.fitted.module, self.listener)

    def _with_room(self, call: Callable[[], None]) -> None:
        """Call, with less memory per step when there is not enough."""
        while True:
            try:
                with as_memory_error():
                    return call()
            except MemoryError as error:
                self._make_room(error)

    def _is_over(self) -> bool:
        budget = self.schedule.budget
        self.fitted.stopped = self.listener.stopped()
        late = budget.seconds is not None and time.perf_counter() - self.started >= budget.seconds
        if agreed(self.crew, self.fitted.stopped or late) > 0:  # all processes or none: the others would wait for ever
            return True
        return budget.steps is not None and self.fitted.steps >= budget.steps

    def _share_done(self) -> float:
        """Share of the budget that is spent, 0 when there is no end."""
        budget, shares = self.schedule.budget, [0.0]
        if budget.steps:
            shares.append(self.fitted.steps / budget.steps)
        if budget.seconds:
            shares.append((time.perf_counter() - self.started) / budget.seconds)
        return min(1.0, max(shares))

    def _rate_now(self) -> float:
        return self.rate * self.schedule.share_of_rate(self.fitted.steps, self._share_done())

    def _report(self, values: dict[str, float]) -> None:
        seconds, done = time.perf_counter() - self.started, self._share_done()
        left = seconds * (1 - done) / done if done > 0 else None
        self.listener.progress(self.fitted.steps, self.schedule.budget.steps, seconds, left, values, self.fitted.best)

    def _recover(self) -> None:
        """The loss or its gradient is not a number: go back to the best weights with half the rate."""
        self.recoveries += 1
        if self.recoveries > 8:
            raise ComputeError(
                "the training keeps diverging: check the image for extreme values, or start from another model"
            )
        self.objective.module.load_state_dict(self.fitted.module.state_dict())
        self.average.module.load_state_dict(self.fitted.module.state_dict())
        self.rate /= 2
        self.optimizer = self._new_optimizer()
        self.listener.note(f"the loss was not a number: went back to the best weights, rate lowered to {self.rate:.1e}")

    def _make_room(self, error: BaseException) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if not self.objective.shrink():
            raise ComputeError(
                "out of memory even with the smallest training step: close other programs or choose the CPU"
            ) from error
        self.listener.note("out of memory: training goes on with half as much per step")

    def _new_optimizer(self) -> torch.optim.Optimizer:
        parameters = [p for p in self.objective.module.parameters() if p.requires_grad]
        return torch.optim.AdamW(parameters, lr=self.rate, betas=(0.9, 0.99), weight_decay=1e-4)


def _finite(score: float | None) -> float | None:
    """A score that is not a number tells nothing."""
    return score if score is not None and np.isfinite(score) else None
