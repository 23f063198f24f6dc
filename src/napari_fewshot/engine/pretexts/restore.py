"""The pretext of arXiv 2402.18286: a conditional GAN restores corrupted patches (LSGAN + 100 L1), here for several tasks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine.crew import ALONE, Crew, average_gradients
from napari_fewshot.engine.device import place
from napari_fewshot.engine.heads.image import ImageHead, enlarge
from napari_fewshot.engine.look import whole
from napari_fewshot.engine.patches import Patches
from napari_fewshot.engine.pretexts.atoms import draw_atoms
from napari_fewshot.engine.pretexts.discriminator import PatchDiscriminator, judge_loss, real_loss
from napari_fewshot.engine.pretexts.pretext import Pretext, Rng, Shared, Sources, side_by_side, tensor
from napari_fewshot.engine.pretexts.scenes import draw_scene
from napari_fewshot.tasks import TASKS, Task

L1_WEIGHT = 100.0
SCALE = 0.1  # 100 L1 + LSGAN times this is of the size of a cross-entropy
SIDE_PX = 128
DRAWN_SHARE = 0.45  # of the training patches are drawn: real ones carry noise of their own, which no target should
ATOMS_SHARE = 0.45  # of the drawn ones show atoms
SMALLEST_MSE = 1e-5  # smaller mean squared errors are as good as none
N_JUDGED = 8  # patches of each model
MODELS: dict[str, Task] = {model: task for task in TASKS.values() if task.corrupt for model in task.models}


def l1(answer: Tensor, wanted: Tensor) -> Tensor:
    """100 times the mean absolute error."""
    return L1_WEIGHT * F.l1_loss(answer, wanted)


def psnr(answer: Tensor, wanted: Tensor) -> Tensor:
    """The mean logarithm of the mean squared errors of the patches (B, 1, Y, X)."""
    return ((answer - wanted) ** 2).mean((1, 2, 3)).div(SMALLEST_MSE).log1p().mean()


FIDELITIES = {f.__name__: f for f in (l1, psnr)}


@dataclass(frozen=True, eq=False)
class Spoiled:
    """Patches for one model: spoiled (B, y, x) and wanted (B, y * factor, x * factor), on the scale of the spoiled."""

    model: str
    given: np.ndarray
    wanted: np.ndarray


class Restore(Pretext):
    """Restores patches that were spoiled as the task's ``corrupt`` says; one task per step, in turn.

    Parameters
    ----------
    batch : int
        Patches per step, times the factor of a super-resolution, whose inputs are smaller.
    adversarial : float
        Weight of the LSGAN term beside 100 L1; 0 leaves the discriminator out.
    models : sequence of str
        Which restoration models are made; fewer get more steps each, and the backbone to themselves.
    fidelity : {"l1", "psnr"}
        The term beside the LSGAN: 100 L1, as in the paper, or the logarithm of each patch's mean squared error, which is what
        a mean PSNR counts (Chen et al. 2021, "HINet", arXiv 2105.06086).
    """

    name = "restore"
    material = "spoiled"

    def __init__(
        self, device: str = "cpu", batch: int = 4, adversarial: float = 1.0, crew: Crew = ALONE, models: Sequence[str] = (),
        fidelity: str = "l1",
    ) -> None:  # fmt: skip
        self.device, self.batch, self.adversarial, self.crew = device, batch, adversarial, crew
        self.fidelity = FIDELITIES[fidelity]
        self.tasks = {model: MODELS[model] for model in models or MODELS}
        self.judge = place(PatchDiscriminator(), device)
        self.judge_optimizer = torch.optim.Adam(self.judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.shown: tuple[Tensor, Tensor, Tensor] | None = None

    def parts(self, widths: tuple[int, ...]) -> nn.Module:
        return nn.ModuleDict({m: ImageHead(widths[0], len(t.zooms), t.models[m]) for m, t in self.tasks.items()})

    def draw(self, sources: Sources, step: int, rng: Rng) -> Spoiled:
        model = list(self.tasks)[step % len(self.tasks)]
        return draw_spoiled(model, sources.patches, self.batch * self.tasks[model].models[model], rng)

    def judged_on(self, held_out: Sources, rng: Rng) -> list[Spoiled]:
        return [draw_spoiled(model, held_out.patches, N_JUDGED, rng, drawn=0.0) for model in self.tasks]

    def losses(self, shared: Shared, drawn: Spoiled) -> dict[str, Tensor]:
        given, answer, wanted = self._answer(shared, drawn)
        terms = {self.fidelity.__name__: SCALE * self.fidelity(answer, wanted)}
        if self.adversarial:
            given = enlarge(given, wanted.shape[-1] // given.shape[-1])
            self.judge.requires_grad_(False)
            verdict = self.judge(torch.cat([given, answer], 1))
            terms["adversarial"] = SCALE * self.adversarial * real_loss(verdict)
            self.judge.requires_grad_(True)
            self.shown = given, wanted, answer.detach()
        return terms

    def after_step(self) -> None:
        if self.shown:
            self.judge_optimizer.zero_grad(set_to_none=True)
            judge_loss(self.judge, *self.shown).backward()  # type: ignore[no-untyped-call]
            average_gradients(self.crew, self.judge.parameters())
            self.judge_optimizer.step()

    def scores(self, shared: Shared, judged: Sequence[Spoiled]) -> dict[str, float]:
        """L1 on held-out patches for each model."""
        errors = {}
        for spoiled in judged:
            _, answer, wanted = self._answer(shared, spoiled)
            errors[f"{spoiled.model} L1"] = float(F.l1_loss(answer, wanted))
        return errors

    def sample(self, shared: Shared, judged: Sequence[Spoiled]) -> np.ndarray:
        given, answer, wanted = self._answer(shared, judged[0])
        return side_by_side(given[0, 0], wanted[0, 0], answer[0, 0])

    def state(self) -> dict[str, Any]:
        return {"judge": self.judge, "judge_optimizer": self.judge_optimizer} if self.adversarial else {}

    def _answer(self, shared: Shared, spoiled: Spoiled) -> tuple[Tensor, Tensor, Tensor]:
        given, wanted = (tensor(planes, self.device) for planes in (spoiled.given, spoiled.wanted))
        heads = shared.parts[self.name]
        assert isinstance(heads, nn.ModuleDict)
        looks = shared.look(given, MODELS[spoiled.model].zooms)
        return given, heads[spoiled.model](looks, given, whole(given)), wanted


def draw_spoiled(model: str, patches: Patches, n: int, rng: Rng, drawn: float = DRAWN_SHARE) -> Spoiled:
    """Draw ``n`` patches, clean scenes among them, and spoil them as the model's task says."""
    task = MODELS[model]
    assert task.corrupt is not None
    given, wanted = [], []
    for _ in range(n):
        clean, support = _drawn(rng) if rng.random() < drawn else (patches.draw(SIDE_PX, rng), 0.0)
        spoiled, target = task.corrupt(clean, task.models[model], rng, support)
        scale = Intensity.measure(spoiled)  # at work only the spoiled picture can be measured
        given.append(scale.to_unit(spoiled))
        wanted.append(((target - scale.low) / scale.span).astype(np.float32))
    return Spoiled(model, np.stack(given), np.stack(wanted))


def _drawn(rng: Rng) -> tuple[np.ndarray, np.ndarray | float]:
    """A clean picture, and what its support adds."""
    return draw_atoms(SIDE_PX, rng) if rng.random() < ATOMS_SHARE else (draw_scene(SIDE_PX, rng)[0], 0.0)
