"""What *Denoise first* brings a segmentation of noisy images: the same strokes, painted on the noisy or the denoised image.

    python benchmarks/denoise_first.py DATA [--doses 40 10] [--strokes 6] [--seeds 1] [--side 512] [--others 2] [--sets NAME ...]
                                       [--out denoise_first.json] [--table denoise_first.md]

DATA holds segmentation/<set>/{images,labels}/*.tif. Every image gets shot noise of so many counts at its 99th percentile, and read-out
noise of one count. Simulated strokes, 60 px long and 3 px wide, on the first image that shows every class; mean IoU over the classes
present on its unpainted pixels ("painted image") and on others of the set. "clean" is the same without the noise, "denoised" with
`em-denoise` before fine-tuning and before predicting, and extra-trees on normalised hand-made features stand beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from command import few_strokes, parsed, settings, write
from peers import OTHERS, PAINTED, classic, labelled, score
from quality import ours
from runs import set_names

import napari_fewshot as nf
from napari_fewshot.core.simulate import simulate_strokes

Row = dict[str, Any]
READ_OUT = 1.0  # counts


def noisy(plane: np.ndarray, dose: float, rng: np.random.Generator) -> np.ndarray:
    """A plane as it would have been recorded with ``dose`` counts at its 99th percentile, as uint8."""
    counts = np.clip(plane / np.percentile(plane, 99), 0, None) * dose
    seen = rng.poisson(counts) + rng.normal(0, READ_OUT, plane.shape)
    return np.clip(np.rint(seen * 160 / dose), 0, 255).astype(np.uint8)


def run(args: argparse.Namespace) -> Iterator[Row]:
    denoiser = nf.load("em-denoise")
    methods = {"ours": partial(ours, steps=0), "extra-trees, normalised": partial(classic, "extra-trees", True)}
    for name in set_names(args.data, args.sets):
        folder = args.data / "segmentation" / name
        clean = labelled(folder, args.side, args.others)
        rng = np.random.default_rng(0)
        inputs = {"clean": clean}
        for dose in args.doses:
            seen = [(noisy(image, dose, rng), truth) for image, truth in clean]
            inputs[f"{dose:g} counts"] = seen
            inputs[f"{dose:g} counts, denoised"] = [(nf.predict(denoiser, image), truth) for image, truth in seen]
        for seed in range(args.seeds):
            strokes = simulate_strokes(clean[0][1], args.strokes, seed)
            for given, pictures in inputs.items():
                for method, fit in methods.items():
                    yield {"set": name, "seed": seed, "input": given, "method": method,
                           **score(fit(pictures[0][0], strokes), pictures, strokes)}  # fmt: skip
        print(name, flush=True)


def table(rows: list[Row]) -> str:
    """Markdown: inputs down, methods and images across; means over sets and seeds."""
    columns = [(m, where) for m in dict.fromkeys(r["method"] for r in rows) for where in (PAINTED, OTHERS)]
    lines = [f"| input | {' | '.join(f'{m}, {where}' for m, where in columns)} |", "| --- |" + " ---: |" * len(columns)]
    for given in dict.fromkeys(r["input"] for r in rows):
        of = [r for r in rows if r["input"] == given]
        means = [np.mean([r[where] for r in of if r["method"] == m]) for m, where in columns]
        lines.append(f"| {given} | {' | '.join(f'{m:.3f}' for m in means)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = few_strokes(__doc__)
    parser.add_argument("--doses", type=float, nargs="+", default=[40, 10])
    args = parsed(parser)
    rows = list(run(args))
    write({"settings": settings(args), "rows": rows}, table(rows), args.out, args.table)


if __name__ == "__main__":
    main()
