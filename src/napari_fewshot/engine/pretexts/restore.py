"""The pretext of arXiv 2402.18286: a conditional GAN restores corrupted patches (LSGAN + 100 L1), here for several tasks at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_fewshot.core.intensity import Intensity
from napari_fewshot.engine.device import place
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.image import ImageHead, enlarge
from napari_fewshot.engine.listen import Listener
from napari_fewshot.engine.look import whole
from napari_fewshot.engine.nets import build_net
from napari_fewshot.engine.network import look
from napari_fewshot.engine.patches import Patches
from napari_fewshot.engine.pretexts.discriminator import PatchDiscriminator, judge_loss, real_loss
from napari_fewshot.engine.pretexts.scenes import draw_scene
from napari_fewshot.tasks import TASKS

L1_WEIGHT = 100.0
SIDE_PX = 128
DRAWN_SHARE = 0.35  # of the training patches are drawn: real ones carry noise of their own, which no target should
VALIDATION_SEED = 20240228


class Restorers(nn.Module):
    """One backbone with one image head for each restoration model."""

    def __init__(self, net: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = build_net(net)
        self.heads = nn.ModuleDict(
            {
                model: ImageHead(self.backbone.widths[0], len(task.zooms), factor)
                for task in TASKS.values()
                if task.corrupt
                for model, factor in task.models.items()
            }
        )
        self.zooms = {model: task.zooms for task in TASKS.values() for model in task.models}

    def forward(self, x: Tensor, model: str) -> Tensor:
        """(B, 1, Y, X) -> (B, 1, Y * factor, X * factor)."""
        return self.heads[model](look(self.backbone, self.zooms[model], x, whole(x)), x, whole(x))


class Restore:
    """Restores patches that were spoiled as the task's ``corrupt`` says; one task per step, in turn.

    Parameters
    ----------
    net : dict
        The ``net`` entry of a card.
    patches, held_out : Patches
        To train on, and to score on.
    batch : int
        Patches per step, times the factor of a super-resolution, whose inputs are smaller.
    adversarial : float
        Weight of the LSGAN term beside 100 L1; 0 leaves the discriminator out.
    """

    def __init__(
        self, net: dict[str, Any], patches: Patches, held_out: Patches, batch: int = 4, adversarial: float = 1.0,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.module = place(Restorers(net), device)
        self.factors = {model: factor for task in TASKS.values() for model, factor in task.models.items()}
        self.patches, self.batch, self.adversarial, self.device = patches, batch, adversarial, device
        self.judge = place(PatchDiscriminator(), device)
        self.judge_optimizer = torch.optim.Adam(self.judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.shown: tuple[Tensor, Tensor, Tensor] | None = None
        self.step = 0
        rng = np.random.default_rng(VALIDATION_SEED)
        self.validation = {model: self._draw(model, held_out, 8, rng, drawn=0.0) for model in self.module.heads}

    def resume(self, generator: Generator) -> None:
        """Go on from the backbone and the head of a generator of an earlier pretraining."""
        self.module.backbone.load_state_dict(generator.network.backbone.state_dict())
        self.module.heads[generator.card.name].load_state_dict(generator.network.head.state_dict())

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        model = list(self.module.heads)[self.step % len(self.module.heads)]
        self.step += 1
        given, target = self._draw(model, self.patches, self.batch * self.factors[model], rng)
        answer = self.module(given, model)
        terms = {"l1": L1_WEIGHT * F.l1_loss(answer, target)}
        if self.adversarial:
            given = enlarge(given, target.shape[-1] // given.shape[-1])
            self.judge.requires_grad_(False)
            terms["adversarial"] = self.adversarial * real_loss(self.judge(torch.cat([given, answer], 1)))
            self.judge.requires_grad_(True)
            self.shown = given, target, answer.detach()
        return terms

    def after_step(self) -> None:
        if self.shown:
            self.judge_optimizer.zero_grad(set_to_none=True)
            judge_loss(self.judge, *self.shown).backward()  # type: ignore[no-untyped-call]
            self.judge_optimizer.step()

    def listen(self, listener: Listener) -> bool:
        return False

    @torch.inference_mode()
    def score(self, module: Restorers) -> float | None:
        """Minus the mean L1 on patches of held-out planes, over all models."""
        return -float(np.mean(list(self.errors(module).values())))

    @torch.inference_mode()
    def errors(self, module: Restorers) -> dict[str, float]:
        """L1 on held-out patches for each model."""
        return {m: float(F.l1_loss(module(x, m), y)) for m, (x, y) in self.validation.items()}

    def show(self, module: Restorers, listener: Listener) -> None:
        pass

    def shrink(self) -> bool:
        self.batch //= 2
        return self.batch >= 1

    def _draw(
        self, model: str, patches: Patches, n: int, rng: np.random.Generator, drawn: float = DRAWN_SHARE
    ) -> tuple[Tensor, Tensor]:
        task = next(t for t in TASKS.values() if model in t.models)
        assert task.corrupt is not None
        given, target = [], []
        for _ in range(n):
            clean = draw_scene(SIDE_PX, rng)[0] if rng.random() < drawn else patches.draw(SIDE_PX, rng)
            spoiled, wanted = task.corrupt(clean, task.models[model], rng)
            scale = Intensity.measure(spoiled)  # at work only the spoiled picture can be measured
            given.append(scale.to_unit(spoiled))
            target.append(((wanted - scale.low) / scale.span).astype(np.float32))
        return self._tensor(given), self._tensor(target)

    def _tensor(self, planes: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(planes)[:, None]).to(self.device, memory_format=torch.channels_last)
