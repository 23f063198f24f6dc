"""What keeps a fine-tuning from memorising the strokes: each part left out, or others added, after the same number of steps.

    python benchmarks/ablation.py DATA [--strokes 6] [--seeds 1] [--steps 40] [--side 512] [--others 2] [--sets NAME ...]
                                  [--out ablation.json] [--table ablation.md]

DATA holds segmentation/<set>/{images,labels}/*.tif. Simulated strokes, 60 px long and 3 px wide, on the first image that shows
every class; the layers are trained for --steps steps. Mean IoU over the classes present, on the unpainted pixels of the painted
image and on other images, of "last" weights, whatever strokes held out say of them, and of the "kept" ones, which are the
best by strokes held out and what a user gets. What is added is what *Also learn from* offers, and the restoration of
regularisers.py; "marks" are those that *Learn from unpainted slices* makes on the other images, accepted as strokes.
The head alone (no step) is the first row. Means over sets and seeds, and how many sets the last weights made better than
the head alone, on other images.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from command import few_strokes, parsed, settings, write
from fewshot import fitted_card
from peers import OTHERS, PAINTED, Predictor, labelled, score
from regularisers import Restored
from runs import set_names
from torch import Tensor

import napari_fewshot as nf
from napari_fewshot.core.intensity import Intensity, key_of
from napari_fewshot.core.job import STROKES_ALONE, Budget, Extras
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import PaintedPlane, Painting, painting_of
from napari_fewshot.engine.extras import terms_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.fit import fit
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.guide import Guide, confident_dots
from napari_fewshot.engine.listen import SILENT
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.painted import FeatureCache
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.schedule import Schedule
from napari_fewshot.engine.segment import MARGIN, OnStrokes, solver_of

Row = dict[str, Any]
HEAD = "head alone"


@dataclass(frozen=True)
class Variant:
    """A fine-tuning with some terms of its loss left out or added, and the decay of its averaged weights."""

    name: str
    without: tuple[str, ...] = ()
    average: float = 0.9
    extras: Extras = STROKES_ALONE
    restores: bool = False
    has_marks: bool = False


VARIANTS = (
    Variant("as shipped"),
    Variant("no agreement on unpainted pixels", ("agreement",)),
    Variant("no anchor to the pretrained weights", ("anchor",)),
    Variant("weights not averaged", average=0.0),
    Variant("cross-entropy on strokes alone", ("agreement", "anchor"), 0.0),
    Variant("with unpainted pixels restored", restores=True),
    Variant("with contrast between classes", extras=Extras(contrast=True)),
    Variant("with objects drawn in", extras=Extras(copy_paste=True)),
    Variant("marks", has_marks=True),
    Variant("marks, with contrast between classes", extras=Extras(contrast=True), has_marks=True),
)


class Ablated(OnStrokes):
    """Our fine-tuning with some terms of its loss left out or added, which remembers the weights it scored last."""

    def __init__(self, generator: Generator, painting: Painting, variant: Variant) -> None:
        super().__init__(copy.deepcopy(generator.network), painting, 0, FeatureCache())
        self.without, self.last = variant.without, self.module
        self.more = [*terms_of(self, variant.extras), *([Restored(self)] if variant.restores else [])]

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return {name: term for name, term in super().losses(rng).items() if name not in self.without}

    def score(self, module: Network) -> float | None:
        self.last = copy.deepcopy(module)
        return super().score(module)


def with_marks(generator: Generator, painting: Painting, unpainted: list[np.ndarray]) -> Painting:
    """The strokes, and what *Learn from unpainted slices* marks with them on other images."""
    guide = Guide.of(generator, painting, FeatureCache())
    planes = list(painting.planes)
    for image in unpainted:
        intensity = Intensity.measure(image)
        answer = guide.answer(image, intensity)
        dots = confident_dots(answer.values, answer.sure, np.random.default_rng(0))
        if len(dots):
            planes.append(PaintedPlane(key_of(image, intensity), image, dots, intensity))
    return Painting(tuple(planes), painting.class_names)


def trained(variant: Variant, generator: Generator, painting: Painting, steps: int) -> Iterator[tuple[str, Predictor]]:
    """The last weights and the kept ones, each with the head for all strokes."""
    objective = Ablated(generator, painting, variant)
    schedule = Schedule(Budget(steps=steps), rate=3e-4, warm_steps=5, average=variant.average, margin=MARGIN)
    kept = fit(objective, schedule, SILENT, np.random.default_rng(0)).module
    card = fitted_card(generator, painting)
    for name, module in (("last", objective.last), ("kept", kept)):
        solver_of(module).fill(objective.calibrate(module).solved)
        yield name, segmenting(Generator(card, module))


def segmenting(generator: Generator) -> Predictor:
    return lambda plane: predict_plane(generator, plane)[0]


def run(args: argparse.Namespace) -> Iterator[Row]:
    generator = nf.load("em-segment")
    for name in set_names(args.data, args.sets):
        folder = args.data / "segmentation" / name
        pictures = labelled(folder, args.side, args.others)
        for seed in range(args.seeds):
            strokes = simulate_strokes(pictures[0][1], args.strokes, seed)
            painting = painting_of([pictures[0][0]], [strokes])
            marked = with_marks(generator, painting, [image for image, _ in pictures[1:]])
            about = {"set": name, "seed": seed}
            head = segmenting(fine_tune_segment(generator, painting, Budget(steps=0)))
            yield {**about, "variant": HEAD, "weights": "kept", **score(head, pictures, strokes)}
            for variant in VARIANTS:
                given = marked if variant.has_marks else painting
                for weights, found in trained(variant, generator, given, args.steps):
                    yield {**about, "variant": variant.name, "weights": weights, **score(found, pictures, strokes)}
        print(name, flush=True)


def table(rows: list[Row]) -> str:
    """Markdown: a line for each variant, last and kept weights, painted and other images."""
    columns = [(w, where) for w in ("last", "kept") for where in (PAINTED, OTHERS)]
    lines = [f"| | {' | '.join(f'{w}, {where}' for w, where in columns)} | sets better than the head |"]
    lines += ["| --- |" + " ---: |" * 5]
    heads = {(r["set"], r["seed"]): r[OTHERS] for r in rows if r["variant"] == HEAD}
    for variant in dict.fromkeys(r["variant"] for r in rows):
        of = [r for r in rows if r["variant"] == variant]
        last = [r for r in of if r["weights"] == "last"]
        means = [[r[where] for r in of if r["weights"] == w] for w, where in columns]
        better = sum(r[OTHERS] > heads[r["set"], r["seed"]] for r in last)
        cells = [f"{np.mean(m):.3f}" if m else "-" for m in means]
        lines.append(f"| {variant} | {' | '.join(cells)} | {f'{better} of {len(last)}' if last else '-'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = few_strokes(__doc__)
    parser.add_argument("--steps", type=int, default=40)
    args = parsed(parser)
    rows = list(run(args))
    write({"settings": settings(args), "rows": rows}, table(rows), args.out, args.table)


if __name__ == "__main__":
    main()
