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
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from command import arguments, parsed, settings, write
from peers import Picture, Predictor, classic, labelled

import napari_fewshot as nf
from napari_fewshot.core.scores import mean_iou
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.engine.generator import Generator

Row = dict[str, Any]
Restore = Callable[[np.ndarray], np.ndarray]
READ_OUT = 1.0  # counts


def noisy(plane: np.ndarray, dose: float, rng: np.random.Generator) -> np.ndarray:
    """A plane as it would have been recorded with ``dose`` counts at its 99th percentile, as uint8."""
    counts = np.clip(plane / np.percentile(plane, 99), 0, None) * dose
    seen = rng.poisson(counts) + rng.normal(0, READ_OUT, plane.shape)
    return np.clip(np.rint(seen * 160 / dose), 0, 255).astype(np.uint8)


def ours(segmenter: Generator, image: np.ndarray, strokes: np.ndarray) -> Predictor:
    tuned = nf.fine_tune(segmenter, image, strokes, steps=0, seed=0)
    return lambda plane: nf.predict(tuned, plane)


def trees(image: np.ndarray, strokes: np.ndarray) -> Predictor:
    return classic("extra-trees", True, image, strokes)


def scored(
    fit: Callable[[np.ndarray, np.ndarray], Predictor], pictures: list[Picture], strokes: np.ndarray
) -> dict[str, float]:
    (image, truth), others = pictures[0], pictures[1:]
    predict = fit(image, strokes)
    same = mean_iou(np.where(strokes > 0, 0, predict(image)), np.where(strokes > 0, 0, truth))
    return {"painted image": same, "other images": float(np.mean([mean_iou(predict(i), t) for i, t in others]))}


def run(args: argparse.Namespace) -> Iterator[Row]:
    segmenter, denoiser = nf.load("em-segment"), nf.load("em-denoise")
    methods = {"ours": lambda i, s: ours(segmenter, i, s), "extra-trees, normalised": trees}
    for folder in sorted((args.data / "segmentation").iterdir()):
        if args.sets and folder.name not in args.sets:
            continue
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
                    yield {"set": folder.name, "seed": seed, "input": given, "method": method,
                           **scored(fit, pictures, strokes)}  # fmt: skip
        print(folder.name, flush=True)


def table(rows: list[Row]) -> str:
    """Markdown: inputs down, methods and images across; means over sets and seeds."""
    columns = [
        (m, where) for m in dict.fromkeys(r["method"] for r in rows) for where in ("painted image", "other images")
    ]
    lines = [f"| input | {' | '.join(f'{m}, {where}' for m, where in columns)} |", "| --- |" + " ---: |" * len(columns)]
    for given in dict.fromkeys(r["input"] for r in rows):
        of = [r for r in rows if r["input"] == given]
        means = [np.mean([r[where] for r in of if r["method"] == m]) for m, where in columns]
        lines.append(f"| {given} | {' | '.join(f'{m:.3f}' for m in means)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments(__doc__, "out", "table")
    parser.add_argument("--doses", type=float, nargs="+", default=[40, 10])
    parser.add_argument("--strokes", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--others", type=int, default=2)
    parser.add_argument("--sets", nargs="+")
    args = parsed(parser)
    rows = list(run(args))
    write({"settings": settings(args), "rows": rows}, table(rows), args.out, args.table)


if __name__ == "__main__":
    main()
