"""The loop stops when told, keeps the best, and recovers from a loss that is not a number and from too little memory."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_fewshot.core.errors import ComputeError
from napari_fewshot.core.job import Budget
from napari_fewshot.engine.fit import fit
from napari_fewshot.engine.listen import Listener, Silent
from napari_fewshot.engine.objective import Snapshot
from napari_fewshot.engine.schedule import Schedule
from tests.engine.noting import Noting


class Parabola:
    """Minimise (w - 3)^2; steps listed in ``bad`` return NaN, steps in ``large`` run out of memory."""

    def __init__(self, bad: tuple[int, ...] = (), large: tuple[int, ...] = ()) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.bad, self.large, self.step, self.size = bad, large, 0, 4

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        self.step += 1
        if self.step in self.large:
            raise torch.OutOfMemoryError("CUDA out of memory")
        scale = float("nan") if self.step in self.bad else 1.0
        return {"square": ((self.module.weight - 3) ** 2).sum() * scale}

    def after_step(self) -> None:
        pass

    def listen(self, listener: Listener) -> bool:
        return False

    def score(self, module: nn.Module) -> float | None:
        assert isinstance(module, nn.Linear)
        return -abs(float(module.weight.detach()) - 3)

    def show(self, module: nn.Module, listener: Listener) -> None:
        pass

    def shrink(self) -> bool:
        self.size //= 2
        return self.size >= 1


def schedule(steps: int | None = 200) -> Schedule:
    return Schedule(Budget(steps=steps), rate=0.1, warm_steps=1, average=0.5, look_s=0.0)


RNG = np.random.default_rng(0)


def test_it_learns_and_counts() -> None:
    fitted = fit(Parabola(), schedule(), Silent(), RNG)
    assert fitted.steps == len(fitted.losses) == 200
    assert abs(float(fitted.module.weight.detach()) - 3) < 0.1


def test_zero_steps_leave_the_weights_alone() -> None:
    fitted = fit(Parabola(), schedule(0), Silent(), RNG)
    assert fitted.steps == 0 and float(fitted.module.weight.detach()) == 0


def test_stop_is_looked_at_every_step() -> None:
    fitted = fit(Parabola(), schedule(None), Noting(stop_after=7), RNG)
    assert fitted.stopped and fitted.steps == 7


def test_weights_whose_score_is_not_a_number_never_replace_the_best() -> None:
    class Judged(Parabola):
        scores = iter((0.5, float("nan"), 0.1))

        def score(self, module: nn.Module) -> float | None:
            return next(self.scores)

    fitted = fit(Judged(), schedule(1), Silent(), RNG)
    assert fitted.best == 0.5 and float(fitted.module.weight.detach()) == 0


def test_a_score_after_new_strokes_that_is_not_a_number_is_none() -> None:
    class Painted(Parabola):
        def listen(self, listener: Listener) -> bool:
            return self.step == 1  # at the end

        def score(self, module: nn.Module) -> float | None:
            return float("nan") if self.step else 0.5

    assert fit(Painted(), schedule(1), Silent(), RNG).best is None


def test_a_long_training_is_stopped_within_its_first_look() -> None:
    class Looking(Parabola):
        n_looked = 0

        def score(self, module: nn.Module) -> float | None:
            module(torch.zeros(1, 1))
            self.n_looked += 1
            return None

    class Nowhere:
        def load(self) -> None:
            return None

        def save(self, snapshot: Snapshot) -> None:
            pass

    objective = Looking()
    fitted = fit(objective, schedule(None), Noting(stop_after=0), RNG, keeper=Nowhere())
    assert fitted.stopped and not fitted.steps and not objective.n_looked


def test_worse_weights_never_replace_the_best() -> None:
    class Overshooting(Parabola):
        def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
            return {"away": -self.module.weight.sum()}  # runs past 3 and on

    fitted = fit(Overshooting(), schedule(300), Silent(), RNG)
    # as close as looks come, which cost time; the last weight is beyond 10
    assert abs(float(fitted.module.weight.detach()) - 3) < 1


def test_a_loss_that_is_not_a_number_goes_back_and_lowers_the_rate() -> None:
    listener = Noting()
    fitted = fit(Parabola(bad=(50,)), schedule(), listener, RNG)
    assert np.all(np.isfinite(fitted.losses)) and abs(float(fitted.module.weight.detach()) - 3) < 0.1
    assert any("rate lowered to 5.0e-02" in n for n in listener.notes)
    with pytest.raises(ComputeError, match="diverging"):
        fit(Parabola(bad=tuple(range(1000))), schedule(), listener, RNG)


def test_a_gradient_that_is_not_a_number_moves_no_weight() -> None:
    class Steep(Parabola):
        def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
            edge = (0 * self.module.weight).sqrt().sum()  # 0, of infinite slope
            return super().losses(rng) | ({"edge": edge} if self.step == 50 else {})

    listener = Noting()
    fitted = fit(Steep(), schedule(), listener, RNG)
    assert abs(float(fitted.module.weight.detach()) - 3) < 0.1
    assert any("rate lowered" in n for n in listener.notes)


def test_a_training_that_cannot_go_on_keeps_the_best_so_far() -> None:
    listener = Noting()
    fitted = fit(Parabola(bad=tuple(range(100, 1000))), schedule(), listener, RNG)
    assert fitted.steps == 99 and abs(float(fitted.module.weight.detach()) - 3) < 0.1
    assert any("the best so far is kept" in n for n in listener.notes)
    fitted = fit(Parabola(large=tuple(range(100, 1000))), schedule(), listener, RNG)
    assert fitted.steps == 99


def test_a_score_that_is_not_a_number_does_not_block_better_weights() -> None:
    class Blind(Parabola):
        def score(self, module: nn.Module) -> float | None:
            return float("nan")

    assert abs(float(fit(Blind(), schedule(), Silent(), RNG).module.weight.detach()) - 3) < 0.1


def test_too_little_memory_halves_the_step_and_says_so() -> None:
    listener, objective = Noting(), Parabola(large=(3, 4))
    assert fit(objective, schedule(), listener, RNG).steps == 200
    assert objective.size == 1 and sum("half as much" in n for n in listener.notes) == 2
    with pytest.raises(ComputeError, match="out of memory"):
        fit(Parabola(large=tuple(range(1000))), schedule(), listener, RNG)


def test_with_steps_for_a_budget_looks_do_not_depend_on_the_clock() -> None:
    class Slow(Parabola):
        def __init__(self, pause_s: float) -> None:
            super().__init__()
            self.pause_s, self.looks = pause_s, list[int]()

        def score(self, module: nn.Module) -> float | None:
            self.looks.append(self.step)
            time.sleep(self.pause_s)
            return super().score(module)

    for objective in (Slow(0.0), Slow(0.02)):
        fit(objective, replace(schedule(25), look_s=0.01), Silent(), RNG)
        assert objective.looks == [0, 10, 20, 25]
