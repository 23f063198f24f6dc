"""Masked patches: blocks of a patch are hidden and have to be filled in from what is around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from napari_fewshot.engine.heads.image import ImageHead
from napari_fewshot.engine.look import whole
from napari_fewshot.engine.pretexts.pretext import Pretext, Rng, Shared, Sources, side_by_side, tensor
from napari_fewshot.engine.pretexts.scenes import draw_scene

SIDE_PX = 128
DRAWN_SHARE = 0.35  # of the patches are drawn scenes
HIDDEN_SHARE = 0.4
BLOCKS_PX = (6, 12, 24)  # sides of the blocks of one patch: from a membrane's width to an organelle
SCALE = 10.0  # times L1 is of the size of a cross-entropy
N_JUDGED = 8


@dataclass(frozen=True, eq=False)
class Masked:
    """Patches (B, Y, X) with blocks at the mean grey level, whole ones, and where they were hidden (bool)."""

    given: np.ndarray
    wanted: np.ndarray
    hidden: np.ndarray


class Inpaint(Pretext):
    """Fill in hidden blocks (Pathak et al. 2016, "Context encoders"); only hidden pixels count."""

    name = "inpaint"
    material = "masked"

    def __init__(self, device: str = "cpu", batch: int = 4) -> None:
        self.device, self.batch = device, batch

    def parts(self, widths: tuple[int, ...]) -> nn.Module:
        return ImageHead(widths[0])

    def draw(self, sources: Sources, step: int, rng: Rng) -> Masked:
        return draw_masked(sources, self.batch, rng)

    def judged_on(self, held_out: Sources, rng: Rng) -> Masked:
        return draw_masked(held_out, N_JUDGED, rng, drawn=0.0)

    def losses(self, shared: Shared, drawn: Masked) -> dict[str, Tensor]:
        answer, wanted, hidden = self._answer(shared, drawn)
        return {"l1": SCALE * (answer - wanted).abs()[hidden].mean()}

    def scores(self, shared: Shared, judged: Masked) -> dict[str, float]:
        """L1 of hidden pixels of held-out patches."""
        answer, wanted, hidden = self._answer(shared, judged)
        return {"hidden L1": float((answer - wanted).abs()[hidden].mean())}

    def sample(self, shared: Shared, judged: Masked) -> np.ndarray:
        answer, wanted, _ = self._answer(shared, judged)
        return side_by_side(tensor(judged.given, self.device)[0, 0], wanted[0, 0], answer[0, 0])

    def _answer(self, shared: Shared, masked: Masked) -> tuple[Tensor, Tensor, Tensor]:
        given = tensor(masked.given, self.device)
        answer = shared.parts[self.name](shared.look(given, (1,)), given, whole(given))
        return answer, tensor(masked.wanted, self.device), tensor(masked.hidden, self.device)


def draw_masked(sources: Sources, n: int, rng: Rng, drawn: float = DRAWN_SHARE) -> Masked:
    """Draw ``n`` patches, clean scenes among them, and hide blocks of each."""
    patches = [
        draw_scene(SIDE_PX, rng)[0] if rng.random() < drawn else sources.patches.draw(SIDE_PX, rng) for _ in range(n)
    ]
    wanted, hidden = np.stack(patches), np.stack([hide((SIDE_PX, SIDE_PX), rng) for _ in range(n)])
    means = np.array([p[~h].mean() for p, h in zip(wanted, hidden, strict=True)], np.float32)
    return Masked(np.where(hidden, means[:, None, None], wanted), wanted, hidden)


def hide(shape: tuple[int, int], rng: Rng) -> np.ndarray:
    """(Y, X) bool: square blocks of one size at random places until their share is reached."""
    side, hidden = int(rng.choice(BLOCKS_PX)), np.zeros(shape, bool)
    while hidden.mean() < HIDDEN_SHARE:
        y, x = (int(rng.integers(n - side + 1)) for n in shape)
        hidden[y : y + side, x : x + side] = True
    return hidden
