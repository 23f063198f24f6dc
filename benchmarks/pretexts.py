"""Pretexts side by side: the same network, data and steps; then frozen features with the closed-form head on a few strokes.

    python benchmarks/pretexts.py DATA [--pretexts SPEC ...] [--steps 300] [--seeds 3] [--strokes 1 3 6 15] [--side 512]
        [--grow-steps N ...] [--grow-widths "8,16,32" ...] [--grow-shares S ...] [--work FOLDER] [--out pretexts.json]
        [--table docs/pretexts.md] [--plots docs]

DATA holds segmentation/<set>/{images,labels}/*.tif and pretrain/*.tif. A SPEC is what --pretexts of the command takes. The sets
are dealt into three folds; each is scored with weights that saw neither its labels nor unlabelled images of its specimens, and
once more with the embedded weights ("embedded", not unseen). Strokes as in quality.py, on the first image that shows every
class; mean IoU over the classes present on its unpainted pixels ("painted image") and on others ("other images"). Beside them:
the same network from random weights, and extra-trees on hand-made features, raw and brought to one grey scale. Numbers are means
over sets, ± one standard deviation over seeds (of pretraining and strokes). With --grow-*, the first SPEC is also scored with other
numbers of steps, widths and shares of the unlabelled planes. Trained weights and scores are kept in --work and not made again.
Needs scikit-learn, scikit-image and matplotlib beside the package.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import arguments, parsed, settings, write
from peers import OTHERS, PAINTED, Picture, Predictor, classic, labelled, score
from runs import RANDOM, Row, Run, kept, plot, segmenter, set_names, table, weights

import napari_fewshot as nf
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.look import features_at
from napari_fewshot.engine.painted import MAX_PER_CLASS
from napari_fewshot.engine.recipe import NET
from napari_fewshot.engine.segment import solver_of

SPECS = ["restore", "inpaint", "episodic", "hybrid", "contrast", "restore:1,inpaint:0.5,episodic:1,contrast:0.1"]
N_FOLDS = 3
SPEED_PX = 512
KINDS = (PAINTED, OTHERS)


def head_on(generator: Generator, image: np.ndarray, strokes: np.ndarray) -> Predictor:
    tuned = nf.fine_tune(generator, image, strokes, steps=0, seed=0)
    return lambda plane: nf.predict(tuned, plane)


def scored(
    methods: dict[str, Any], sets: list[str], seed: int, args: argparse.Namespace, more: Row | None = None
) -> Iterator[Row]:
    """One row a set, method and number of strokes; those of an earlier run are in --work."""
    for name in sets:
        pictures = labelled(args.data / "segmentation" / name, args.side, args.others)
        for method, fit in methods.items():
            what = {"set": name, "method": method, "seed": seed} | (more or {})
            yield from kept(args.work, what, at_scale(args), asked(fit, pictures, seed, args.strokes))
        print(name, "seed", seed, "done", flush=True)


def asked(fit: Any, pictures: list[Picture], seed: int, n_strokes: list[int]) -> Iterator[Row]:
    for n in n_strokes:
        strokes = simulate_strokes(pictures[0][1], n, seed)
        yield {"strokes": n} | score(fit(pictures[0][0], strokes), pictures, strokes)


def at_scale(args: argparse.Namespace) -> tuple[Any, ...]:
    return args.steps, args.strokes, args.side, args.others, nf.load("em-segment").card.id


def folds(sets: list[str]) -> list[tuple[str, ...]]:
    return [tuple(sets[i::N_FOLDS]) for i in range(N_FOLDS) if sets[i::N_FOLDS]]


def compared(sets: list[str], args: argparse.Namespace) -> Iterator[Row]:
    """Every pretext on every set, then what needs no pretraining."""
    peers = {f"extra-trees{', normalised' if n else ''}": partial(classic, "extra-trees", n) for n in (False, True)}
    embedded = {"embedded": partial(head_on, nf.load("em-segment"))}
    for seed in range(args.seeds):
        for unseen in folds(sets):
            trained = {}
            for spec in [RANDOM, *args.pretexts]:
                folder = weights(Run(spec, args.steps, seed, unseen), args.data, args.work, args.device)
                trained[spec or "random weights"] = partial(head_on, segmenter(folder))
            yield from scored(peers | trained | embedded, list(unseen), seed, args)


def grown(sets: list[str], args: argparse.Namespace) -> Iterator[Row]:
    """The first pretext with more or fewer steps, channels and images."""
    base = Run(args.pretexts[0], args.steps, 0, ())
    nets = [dict(NET) | {"widths": [int(w) for w in widths.split(",")]} for widths in args.grow_widths]
    others = [("steps", replace(base, steps=n)) for n in args.grow_steps]
    others += [("parameters", replace(base, net=net)) for net in nets]
    others += [("share of the images", replace(base, share=share)) for share in args.grow_shares]
    for seed in range(args.seeds):
        for unseen in folds(sets):
            for kind, run in others:
                folder = weights(replace(run, seed=seed, unseen=unseen), args.data, args.work, args.device)
                generator = segmenter(folder)
                size = sum(p.numel() for p in generator.network.backbone.parameters())
                at = {"steps": run.steps, "parameters": size, "share of the images": run.share}[kind]
                how = {"head": partial(head_on, generator)}
                yield from scored(how, list(unseen), seed, args, {"grows": kind, "at": at})


def median_ms(call: Any, n: int = 7) -> float:
    call()
    times = []
    for _ in range(n):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times))


@torch.inference_mode()
def speed(generator: Generator) -> dict[str, float]:
    """Milliseconds for the features of 512 x 512 px, and for fitting the head to six strokes of each of three classes."""
    network = generator.network
    x = torch.rand(1, 1, SPEED_PX, SPEED_PX).to(memory_format=torch.channels_last)
    bands = np.repeat(np.arange(1, 4), [171, 171, 170])[:, None] * np.ones(SPEED_PX, int)
    painted = simulate_strokes(bands, 6)
    looks = network.look(x)
    at = [np.argwhere(painted == k)[:MAX_PER_CLASS] for k in (1, 2, 3)]
    yx, y = torch.from_numpy(np.concatenate(at)), torch.from_numpy(np.repeat(np.arange(3), [len(a) for a in at]))
    return {
        f"features of {SPEED_PX} x {SPEED_PX} px": median_ms(lambda: network.look(x)),
        f"head fitted to {len(y)} px": median_ms(lambda: solver_of(network).solve(features_at(looks, yx), y, 3)),
    }


def report(rows: list[Row], growth: list[Row], fast: dict[str, float], args: argparse.Namespace) -> str:
    scale = (
        f"{args.steps} steps, {args.seeds} seeds, images cropped to {args.side} px, {args.others} other images a set"
    )
    parts = [
        f"Scale: {scale}; sets {', '.join(dict.fromkeys(r['set'] for r in rows))}; {torch.get_num_threads()} threads."
    ]
    parts += ["Milliseconds with the embedded weights: " + ", ".join(f"{k} {v:.0f}" for k, v in fast.items()) + "."]
    for kind in KINDS:
        parts += [f"Mean IoU, {kind}, by strokes a class", table(rows, ["method"], "strokes", kind)]
    middle = args.strokes[len(args.strokes) // 2]
    at_middle = [r for r in rows if r["strokes"] == middle]
    parts += [f"Each set, other images, {middle} strokes", table(at_middle, ["set"], "method", KINDS[1])]
    if growth:
        parts += [f"Growth of '{args.pretexts[0]}', other images", table(growth, ["grows", "at"], "strokes", KINDS[1])]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def main() -> None:
    parser = arguments(__doc__, "work", "out", "table", "plots")
    parser.add_argument("--pretexts", nargs="+", default=SPECS)
    parser.add_argument("--sets", nargs="+", default=[])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strokes", type=int, nargs="+", default=[1, 3, 6, 15])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--others", type=int, default=4)
    parser.add_argument("--grow-steps", type=int, nargs="*", default=[])
    parser.add_argument("--grow-widths", nargs="*", default=[])
    parser.add_argument("--grow-shares", type=float, nargs="*", default=[])
    parser.add_argument("--device", default="auto")
    args = parsed(parser)
    args.work = args.work or Path(tempfile.mkdtemp())
    sets = set_names(args.data, args.sets)
    rows, growth = list(compared(sets, args)), list(grown(sets, args))
    fast = speed(nf.load("em-segment"))
    text = report(rows, growth, fast, args)
    results = {"scale": settings(args), "speed_ms": fast, "rows": rows, "growth": growth}
    write(results, text, args.out, args.table)
    if args.plots:
        plot(args.plots / "pretexts.png", rows, "strokes", KINDS[1], "method", logarithmic=True)
        for kind in dict.fromkeys(r["grows"] for r in growth):
            name = kind.replace(" ", "-")
            some = [{**r, kind: r["at"], "kind": f"{r['strokes']} strokes"} for r in growth if r["grows"] == kind]
            plot(args.plots / f"growth-{name}.png", some, kind, KINDS[1], "kind", logarithmic=True)


if __name__ == "__main__":
    main()
