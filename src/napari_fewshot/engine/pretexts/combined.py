"""Several pretexts with their weights as one objective over one shared backbone. Knows no single pretext and no file."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_fewshot.engine.device import place
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.loader import load
from napari_fewshot.engine.logbook import Logbook
from napari_fewshot.engine.pretexts.pretext import Pretext, Shared, Sources

VALIDATION_SEED = 20240228


class Combined:
    """What `fit` minimises: in each step the weighted sum of the terms of all pretexts.

    What a step draws depends on the seed and the number of the step only, not on what was drawn before: so a
    training that is resumed goes on as if it had not stopped, and loaders may draw in any order.

    Parameters
    ----------
    net : dict
        The ``net`` entry of a card.
    pretexts : mapping of Pretext to float
        With their weights.
    sources, held_out : Sources
        To train on, and to judge on.
    seed : int
        Another one for each process of a crew.
    in_bfloat16 : bool
        Compute the backbone in bfloat16.
    n_loaders : int
        That draw in the background, see `load`.
    listener : Listener
        Can stop the waiting for what they draw.
    """

    def __init__(
        self, net: dict[str, Any], pretexts: Mapping[Pretext, float], sources: Sources, held_out: Sources,
        seed: int = 0, device: str = "cpu", in_bfloat16: bool = False, n_loaders: int = 1, logbook: Logbook | None = None,
        listener: Listener = SILENT,
    ) -> None:  # fmt: skip
        self.weights = dict(pretexts)
        self.module = place(Shared(net, {p.name: p for p in pretexts}, in_bfloat16), device)
        self.sources, self.seed, self.n_loaders = sources, seed, n_loaders
        self.logbook, self.listener = logbook, listener
        self.drawers = {p.material: p for p in reversed(self.weights)}  # the first of each material draws for all
        self.judged = {p: p.judged_on(held_out, np.random.default_rng(VALIDATION_SEED)) for p in pretexts}
        self.steps = 0
        self.latest: dict[str, float] = {}  # scores of the weights that were last shown
        self.coming: Generator[dict[str, Any], None, None] | None = None

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        self.coming = self.coming or load(self._draw, self.steps, self.n_loaders, self.listener)
        drawn = next(self.coming)
        self.steps += 1
        terms = {
            f"{pretext.name} {term}": weight * value
            for pretext, weight in self.weights.items()
            for term, value in pretext.losses(self.module, drawn[pretext.material]).items()
        }
        if self.logbook:
            self.logbook.losses(self.steps, terms)
        return terms

    def after_step(self) -> None:
        for pretext in self.weights:
            pretext.after_step()

    def listen(self, listener: Listener) -> bool:
        return False

    def score(self, module: Shared) -> float | None:
        """None, so that the newest averaged weights are kept: scores of several pretexts have no common unit."""
        return None

    @torch.inference_mode()
    def show(self, module: Shared, listener: Listener) -> None:
        """Say how good the averaged weights are on what was held out, and write it down with a sample of each pretext."""
        self.latest = self.scores(module)
        listener.note(f"step {self.steps}: " + ", ".join(f"{name} {value:.4g}" for name, value in self.latest.items()))
        if self.logbook:
            self.logbook.scores(self.steps, self.latest)
            self.logbook.pictures(self.steps, {p.name: p.sample(module, self.judged[p]) for p in self.weights})

    @torch.inference_mode()
    def scores(self, module: Shared) -> dict[str, float]:
        """Quality on what was held out, all pretexts together."""
        return {k: v for p in self.weights for k, v in p.scores(module, self.judged[p]).items()}

    def shrink(self) -> bool:
        """Halve what every pretext draws; what was drawn in advance is drawn again."""
        if all(p.batch < 2 for p in self.weights):
            return False
        for pretext in self.weights:
            pretext.batch = max(1, pretext.batch // 2)
        self.close()
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a snapshot needs beside the module: the number of the next step, and the pretexts' own networks."""
        things = {k: v.state_dict() for p in self.weights for k, v in p.state().items()}
        return {"steps": self.steps, "batches": {p.name: p.batch for p in self.weights}, "things": things}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where `state_dict` left."""
        self.steps = state["steps"]
        for pretext in self.weights:
            pretext.batch = state["batches"][pretext.name]
            for name, thing in pretext.state().items():
                thing.load_state_dict(state["things"][name])

    def close(self) -> None:
        """End what draws in advance."""
        if self.coming:
            self.coming.close()
        self.coming = None

    def _draw(self, step: int) -> dict[str, Any]:
        """What each material gives a step."""
        return {
            material: pretext.draw(self.sources, step, np.random.default_rng([self.seed, step, i]))
            for i, (material, pretext) in enumerate(self.drawers.items())
        }
