"""Scores of the embedded weights on labelled micrographs and on pairs, beside simple peers.

    python benchmarks/quality.py DATA [--strokes 6] [--seeds 2] [--seconds 10] [--out quality.json] [--table docs/quality.md]

DATA holds segmentation/<set>/{images,labels}/*.tif and restoration/<set>/{noisy|lr}, {clean|clean_nobg|hr}/*.tif.
Segmentation: simulated strokes on the first image that shows every class; mean IoU over the classes present, on its
unpainted pixels ("painted image") and on up to four others ("other images"). Peer: extra-trees on multiscale intensity, edge
and texture features (sigma 0.7 to 16), raw and after bringing the 1st and 99th percentile of each image to 0 and 1.
Restoration: PSNR in dB after clipping to 0..1, up to four pairs a set; background sets after the least-squares gain and offset.
Needs scikit-learn and scikit-image beside the package.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch
from peers import Predictor, classic, labelled, score, spread
from scipy.ndimage import gaussian_filter, zoom

import napari_fewshot as nf
from napari_fewshot.core.scores import psnr
from napari_fewshot.core.simulate import simulate_strokes

N_PAIRS = 4


def ours(image: np.ndarray, strokes: np.ndarray, **budget: float) -> Predictor:
    tuned = nf.fine_tune(nf.load("em-segment"), image, strokes, seed=0, **budget)
    return lambda plane: nf.predict(tuned, plane)


def segmentation(data: Path, n_strokes: int, seeds: int, seconds: float) -> Iterator[dict[str, object]]:
    methods: dict[str, Callable[[np.ndarray, np.ndarray], Predictor]] = {
        "extra-trees": partial(classic, "extra-trees", False),
        "extra-trees, normalised": partial(classic, "extra-trees", True),
        "ours, head only": lambda i, s: ours(i, s, steps=0),
        f"ours, {seconds:g} s": lambda i, s: ours(i, s, seconds=seconds),
    }
    for folder in sorted((data / "segmentation").iterdir()):
        pictures = labelled(folder)
        image, truth = pictures[0]
        for seed in range(seeds):
            strokes = simulate_strokes(truth, n_strokes, seed)
            for name, fit in methods.items():
                yield {"set": folder.name, "method": name, **score(fit(image, strokes), pictures, strokes)}


def affine(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    gain, offset = np.polyfit(x.ravel(), target.ravel(), 1)
    return gain * x + offset


def pairs(data: Path) -> Iterator[tuple[str, str, int, Path, Path]]:
    """Set, model, factor, and the folders of inputs and targets."""
    for folder in sorted((data / "restoration").iterdir()):
        if (folder / "lr").is_dir():
            factor = int(folder.name.rsplit("_x", 1)[1])
            yield folder.name, f"em-superres-x{factor}", factor, folder / "lr", folder / "hr"
        elif folder.name.endswith("_background"):
            yield folder.name, "em-background", 1, folder / "noisy", folder / "clean"
        else:
            yield folder.name, "em-denoise", 1, folder / "noisy", folder / "clean"
            if (folder / "clean_nobg").is_dir():
                yield folder.name + ", no background", "em-background", 1, folder / "noisy", folder / "clean_nobg"


def restoration(data: Path) -> Iterator[dict[str, object]]:
    for name, model, factor, inputs, targets in pairs(data):
        generator = nf.load(model)
        for path in spread(sorted(inputs.glob("*.tif")), N_PAIRS):
            noisy, clean = (tifffile.imread(f / path.name).astype(np.float32) / 255 for f in (inputs, targets))
            plain = zoom(noisy, factor, order=3, mode="nearest", grid_mode=True) if factor > 1 else noisy
            smooth = [gaussian_filter(plain, s) for s in (0.5, 0.7, 1, 1.5, 2, 3, 4)]
            fitted = affine if model == "em-background" else (lambda x, target: x)
            score = lambda x, c=clean, fit=fitted: psnr(np.clip(fit(x, c), 0, 1), c)  # noqa: E731
            yield {"set": name, "method": "input", "PSNR": score(plain)}
            yield {"set": name, "method": "best Gaussian (oracle)", "PSNR": max(map(score, smooth))}
            yield {"set": name, "method": "ours, zero-shot", "PSNR": score(nf.predict(generator, noisy))}


def table(rows: list[dict[str, object]], value: str) -> str:
    """Markdown: sets down, methods across, then the mean of the sets."""
    cells: dict[tuple[object, object], list[float]] = defaultdict(list)
    for row in rows:
        cells[row["set"], row["method"]].append(float(row[value]))  # type: ignore[arg-type]
    sets, methods = (list(dict.fromkeys(r[k] for r in rows)) for k in ("set", "method"))
    lines = [f"| {value} | " + " | ".join(map(str, methods)) + " |", "| --- |" + " ---: |" * len(methods)]
    digits = 1 if value == "PSNR" else 3
    means = {(s, m): float(np.mean(cells[s, m])) for s in sets for m in methods}
    for s in sets:
        lines.append(f"| {s} | " + " | ".join(f"{means[s, m]:.{digits}f}" for m in methods) + " |")
    total = [float(np.mean([means[s, m] for s in sets])) for m in methods]
    return "\n".join([*lines, "| **mean of sets** | " + " | ".join(f"{v:.{digits}f}" for v in total) + " |", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--strokes", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    restored = list(restoration(args.data))
    segmented = list(segmentation(args.data, args.strokes, args.seeds, args.seconds))
    text = "\n".join(
        [
            f"Segmentation, {args.strokes} strokes a class, mean IoU of {args.seeds} seeds",
            "",
            *(table(segmented, v) for v in ("painted image", "other images")),
            "Restoration, PSNR in dB",
            "",
            table(restored, "PSNR"),
        ]
    )
    print(text)
    if args.out:
        args.out.write_text(json.dumps({"segmentation": segmented, "restoration": restored}, indent=1) + "\n")
    if args.table:
        args.table.write_text(text)


if __name__ == "__main__":
    main()
