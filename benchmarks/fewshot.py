"""Mean IoU against seconds after the click, on the painted image and on others, ours beside what users have today.

    python benchmarks/fewshot.py DATA [--strokes 3 6 15] [--seeds 3] [--marks 0.5 1 3 10 30 60] [--sets NAME ...]
                                 [--model em-segment] [--threads N] [--out fewshot.json] [--page docs/fewshot.md]

DATA holds segmentation/<set>/{images,labels}/*.tif. Simulated strokes, 60 px long and 3 px wide, n a class, on the first image
that shows every class; mean IoU over the classes present, on its unpainted pixels ("painted image") and on others of the set.
A method scores at a mark what it could have shown by then; nothing yet is 0. For ours that is the best version so far, taken
while one training runs; for all, fitting and the first segmentation of the painted image must be over, and no features were
computed before the click. "held out" sets are those whose labels
the card of the model does not name. Needs scikit-learn, scikit-image and matplotlib beside the package;
with apoc and an OpenCL device, such as Debian's pocl-opencl-icd, APOC is compared too.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from command import arguments, parsed, settings, write
from peers import APOC, CLASSIFIERS, OTHERS, PAINTED, Picture, Predictor, apoc, classic, has_apoc, labelled, score

import napari_fewshot as nf
from napari_fewshot.core.job import Budget, View
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import Painting, painting_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.fit import fit
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import SILENT, Listener
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.painted import FeatureCache
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.schedule import Schedule
from napari_fewshot.engine.segment import MARGIN, OnStrokes, solver_of
from napari_fewshot.engine.warm_up import warm_up

Shown = list[tuple[float, Predictor]]  # what there was to see, and since when (s after the click)


class Recorded(OnStrokes):
    """Our fine-tuning, which also keeps each new best version, from when the painted image was seen segmented by it."""

    def __init__(self, generator: Generator, painting: Painting, seed: int) -> None:
        self.card = fitted_card(generator, painting)
        network = copy.deepcopy(generator.network)
        self.began = time.perf_counter()
        super().__init__(network, painting, seed, FeatureCache())
        self.versions: list[tuple[float, Generator]] = []

    def show(self, module: Network, listener: Listener) -> None:
        head, plane = self.solve(module), self.painting.planes[0]
        self.segment_view(module, View((), (0, 0), plane.image, plane.intensity, plane.key), head)
        seconds = time.perf_counter() - self.began
        kept = copy.deepcopy(module)
        solver_of(kept).fill(self.calibrate(module).solved)
        self.versions.append((seconds, Generator(self.card, kept)))


class Plain(Recorded):
    """The obvious thing: all layers and a linear head by cross-entropy on the strokes, and the last is the best."""

    def losses(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        plane, yx, y = self.query(int(rng.integers(1, 4)), rng)
        head = self.solve(self.module)
        x = self.two_contrasts(plane, rng)[:1]
        whole = (slice(0, x.shape[-2]), slice(0, x.shape[-1]))
        logits = solver_of(self.module).scores(self.module.look(x), whole, head.solved)
        return {"strokes": F.cross_entropy(logits[:, :, yx[:, 0], yx[:, 1]], y[None])}

    def score(self, module: Network) -> float | None:
        return None


def fitted_card(generator: Generator, painting: Painting) -> Any:
    """The card of a head for what is painted."""
    return fine_tune_segment(generator, painting, Budget(steps=0)).card


def ours(
    kind: type[Recorded], generator: Generator, marks: list[float], image: np.ndarray, strokes: np.ndarray
) -> Shown:
    painting = painting_of([image], [strokes])
    objective = kind(generator, painting, 0)
    schedule = Schedule(
        Budget(seconds=max(marks)), rate=3e-4, warm_steps=5, average=0.9, margin=MARGIN, trusts_unjudged=kind is Plain
    )
    fit(objective, schedule, SILENT, np.random.default_rng(0), objective.began)
    return [(s, partial(_classes, g)) for s, g in objective.versions]


def _classes(generator: Generator, plane: np.ndarray) -> np.ndarray:
    return predict_plane(generator, plane)[0]


def peer(fit: Callable[[np.ndarray, np.ndarray], Predictor], image: np.ndarray, strokes: np.ndarray) -> Shown:
    began = time.perf_counter()
    predict = fit(image, strokes)
    first = predict(image)
    seconds = time.perf_counter() - began
    return [(seconds, lambda plane: first if plane is image else predict(plane))]


def from_random(generator: Generator) -> Generator:
    """The same network before any pretraining."""
    torch.manual_seed(0)
    return Generator(generator.card, Network.of_card(generator.card))


def scores(shown: Shown, marks: list[float], pictures: list[Picture], strokes: np.ndarray) -> Iterator[dict[str, Any]]:
    """One row a mark; a version shown at several marks is asked once."""
    known: dict[int, dict[str, Any]] = {}
    for mark in marks:
        there = [i for i, (s, _) in enumerate(shown) if s <= mark]
        if not there:
            yield {"seconds": mark, PAINTED: 0.0, OTHERS: 0.0, "classes": {PAINTED: {}, OTHERS: {}}}
            continue
        if (best := there[-1]) not in known:
            known[best] = score(shown[best][1], pictures, strokes)
        yield {"seconds": mark, **known[best]}


def run(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    generator = nf.load(args.model)
    warm_up(generator)  # as a worker does before the first click
    methods: dict[str, Callable[[np.ndarray, np.ndarray], Shown]] = {
        "ours": partial(ours, Recorded, generator, args.marks),
        "ours, from random weights": partial(ours, Recorded, from_random(generator), args.marks),
        "fine-tune everything": partial(ours, Plain, generator, args.marks),
    }
    for name in CLASSIFIERS:
        methods[name] = partial(peer, partial(classic, name, False))
        methods[f"{name}, normalised"] = partial(peer, partial(classic, name, True))
    if has_apoc():
        methods[APOC] = partial(peer, apoc)
    for folder in sorted((args.data / "segmentation").iterdir()):
        if args.sets and folder.name not in args.sets:
            continue
        pictures = labelled(folder, args.side, args.others)
        image, truth = pictures[0]
        for n in args.strokes:
            for seed in range(args.seeds):
                strokes = simulate_strokes(truth, n, seed)
                for method, work in methods.items():
                    for row in scores(work(image, strokes), args.marks, pictures, strokes):
                        row |= {"set": folder.name, "method": method, "strokes": n, "seed": seed}
                        row["held out"] = folder.name not in generator.card.data
                        yield row
        print(folder.name, flush=True)


def mean_of_sets(rows: list[dict[str, Any]], value: str, **of: Any) -> float:
    rows = [r for r in rows if all(r[k] == v for k, v in of.items())]
    sets = sorted({r["set"] for r in rows})
    return float(np.mean([np.mean([r[value] for r in rows if r["set"] == s]) for s in sets]))


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown: methods down, marks across, for each number of strokes; then ours against the best peer, set by set."""
    lines: list[str] = []
    methods, marks = (list(dict.fromkeys(r[k] for r in rows)) for k in ("method", "seconds"))
    for n in dict.fromkeys(r["strokes"] for r in rows):
        for value in (PAINTED, OTHERS):
            part = [r for r in rows if r["strokes"] == n]
            head = " | ".join(f"{m:g} s" for m in marks)
            lines += [f"| {n} strokes a class, {value} | {head} |", "| --- |" + " ---: |" * len(marks)]
            for method in methods:
                means = (mean_of_sets(part, value, method=method, seconds=m) for m in marks)
                lines.append(f"| {method} | " + " | ".join(f"{v:.3f}" for v in means) + " |")
            lines.append("")
            last = [r for r in part if r["seconds"] == marks[-1]]
            lines += [
                f"| {n} strokes, {value}, {marks[-1]:g} s | ours | best peer | labels seen |",
                "| --- | ---: | ---: | --- |",
            ]
            for s in dict.fromkeys(r["set"] for r in last):
                of = [r for r in last if r["set"] == s]
                best = max(
                    (mean_of_sets(of, value, method=m), m) for m in methods if m.split(",")[0] in (*CLASSIFIERS, APOC)
                )
                seen = "no" if of[0]["held out"] else "yes"
                lines.append(
                    f"| {s} | {mean_of_sets(of, value, method='ours'):.3f} | {best[0]:.3f} ({best[1]}) | {seen} |"
                )
            lines.append("")
        lines += [*classes([r for r in rows if r["strokes"] == n and r["seconds"] == marks[-1]]), ""]
    return "\n".join(lines)


def classes(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: the classes of each set down; ours and the peer that is the best on average across."""
    best = max((m for m in dict.fromkeys(r["method"] for r in rows) if m.split(",")[0] in (*CLASSIFIERS, APOC)),
               key=lambda m: mean_of_sets(rows, PAINTED, method=m))  # fmt: skip
    columns = [(value, method) for value in (PAINTED, OTHERS) for method in ("ours", best)]
    lines = [f"| {rows[0]['strokes']} strokes, class by class | " + " | ".join(f"{m}, {v}" for v, m in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for name in dict.fromkeys(r["set"] for r in rows):
        mine = [r for r in rows if r["set"] == name]
        for k in mine[0]["classes"][PAINTED]:
            cells = []
            for value, method in columns:
                found = [r["classes"][value].get(k) for r in mine if r["method"] == method]
                there = [iou for iou in found if iou is not None]
                cells.append(f"{np.mean(there):.3f}" if there else "-")
            lines.append(f"| {name}, {k} | " + " | ".join(cells) + " |")
    return lines


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    counts = list(dict.fromkeys(r["strokes"] for r in rows))
    figure, axes = plt.subplots(2, len(counts), figsize=(4 * len(counts), 6), squeeze=False, sharex=True)
    for row, value in zip(axes, (PAINTED, OTHERS), strict=True):
        for axis, n in zip(row, counts, strict=True):
            part = [r for r in rows if r["strokes"] == n]
            for method in dict.fromkeys(r["method"] for r in part):
                marks = list(dict.fromkeys(r["seconds"] for r in part))
                values = [mean_of_sets(part, value, method=method, seconds=m) for m in marks]
                axis.plot(marks, values, label=method, linewidth=2.5 if method == "ours" else 1)
            axis.set(
                xscale="log", title=f"{value}, {n} strokes a class", xlabel="seconds after the click", ylabel="mean IoU"
            )
    axes[0, 0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = arguments(__doc__, "out", "page")
    parser.add_argument("--strokes", type=int, nargs="+", default=[3, 6, 15])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--marks", type=float, nargs="+", default=[0.5, 1, 3, 10, 30, 60])
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--side", type=int, default=1024, help="larger images are cropped to this, px")
    parser.add_argument("--others", type=int, default=4)
    parser.add_argument("--model", default="em-segment")
    args = parsed(parser)
    rows = list(run(args))
    text = "\n\n".join(
        (
            "# Mean IoU against seconds after the click",
            f"Printed by `benchmarks/fewshot.py`: seeds of strokes {args.seeds}, at most {args.others} other images a set, "
            f"images cropped to {args.side} px.",
            f"![The same as curves]({args.page.stem if args.page else 'fewshot'}.png)",
            tables(rows),
        )
    )
    write({"settings": settings(args), "rows": rows}, text, args.out, args.page)
    if args.page:
        plot(rows, args.page.with_suffix(".png"))


if __name__ == "__main__":
    main()
