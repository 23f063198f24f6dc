"""Segmentation by the embedded weights on labelled micrographs, beside simple peers; restorations: see restoration.py.

    python benchmarks/quality.py DATA [--strokes 6] [--seeds 2] [--seconds 10] [--heads-of MODEL ...] [--out quality.json] [--table docs/quality.md]

DATA holds segmentation/<set>/{images,labels}/*.tif.
Simulated strokes on the first image that shows every class; mean IoU over the classes present, on its
unpainted pixels ("painted image") and on up to four others ("other images"). Peer: extra-trees on multiscale intensity, edge
and texture features (sigma 0.7 to 16), raw and after bringing the 1st and 99th percentile of each image to 0 and 1. With
--heads-of, the heads of these embedded models or model folders alone are compared.
Needs scikit-learn and scikit-image beside the package.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import Predictor, classic, labelled, score

import napari_fewshot as nf
from napari_fewshot.core.simulate import simulate_strokes


def ours(image: np.ndarray, strokes: np.ndarray, model: str = "em-segment", **budget: Any) -> Predictor:
    tuned = nf.fine_tune(nf.load(model), image, strokes, seed=0, **budget)
    return lambda plane: nf.predict(tuned, plane)


def segmentation(
    data: Path, n_strokes: int, seeds: int, seconds: float, heads: Sequence[str]
) -> Iterator[dict[str, object]]:
    methods: dict[str, Callable[[np.ndarray, np.ndarray], Predictor]] = {
        "extra-trees": partial(classic, "extra-trees", False),
        "extra-trees, normalised": partial(classic, "extra-trees", True),
        "ours, head only": lambda i, s: ours(i, s, steps=0),
        f"ours, {seconds:g} s": lambda i, s: ours(i, s, seconds=seconds),
    }
    if heads:
        methods = {f"{Path(m).name}, head only": partial(ours, model=m, steps=0) for m in heads}
    for folder in sorted((data / "segmentation").iterdir()):
        pictures = labelled(folder)
        image, truth = pictures[0]
        for seed in range(seeds):
            strokes = simulate_strokes(truth, n_strokes, seed)
            for name, fit in methods.items():
                yield {"set": folder.name, "method": name, **score(fit(image, strokes), pictures, strokes)}


def table(rows: list[dict[str, object]], value: str) -> str:
    """Markdown: sets down, methods across, then the mean of the sets."""
    cells: dict[tuple[object, object], list[float]] = defaultdict(list)
    for row in rows:
        cells[row["set"], row["method"]].append(float(row[value]))  # type: ignore[arg-type]
    sets, methods = (list(dict.fromkeys(r[k] for r in rows)) for k in ("set", "method"))
    lines = [f"| {value} | " + " | ".join(map(str, methods)) + " |", "| --- |" + " ---: |" * len(methods)]
    means = {(s, m): float(np.mean(cells[s, m])) for s in sets for m in methods}
    for s in sets:
        lines.append(f"| {s} | " + " | ".join(f"{means[s, m]:.3f}" for m in methods) + " |")
    total = [float(np.mean([means[s, m] for s in sets])) for m in methods]
    return "\n".join([*lines, "| **mean of sets** | " + " | ".join(f"{v:.3f}" for v in total) + " |", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--strokes", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--heads-of", nargs="+", default=())
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    segmented = list(segmentation(args.data, args.strokes, args.seeds, args.seconds, args.heads_of))
    text = "\n".join(
        [
            f"Segmentation, {args.strokes} strokes a class, mean IoU of {args.seeds} seeds",
            "",
            *(table(segmented, v) for v in ("painted image", "other images")),
        ]
    )
    print(text)
    if args.out:
        args.out.write_text(json.dumps({"segmentation": segmented}, indent=1) + "\n")
    if args.table:
        args.table.write_text(text)


if __name__ == "__main__":
    main()
