"""How well touching objects are told apart: the rule of the neck beside watersheds with a fixed distance.

    python benchmarks/objects.py DATA [--out objects.json]

DATA holds segmentation/<set>/instances/*.tif. A class answer is made of each image: gaps of a pixel between neighbours closed
("clean"), then smoothed and roughened ("rough"). Score: F1 of objects found at an intersection over union above a half, mean
over up to eight images a set. Peer: maxima of the smoothed distance at least so many pixels apart, as in most tutorials.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from napari_fewshot.core.objects import Objects
from napari_fewshot.engine.objects import separate

SETS = ("em_particles", "hrtem_particles_sim", "fluo_nuclei")
N_IMAGES = 8


def f1(found: np.ndarray, truth: np.ndarray) -> float:
    """Of objects 1 .. n in both, at an intersection over union above a half."""
    n, m = int(truth.max()) + 1, int(found.max()) + 1
    both = np.bincount(truth.ravel().astype(np.int64) * m + found.ravel(), minlength=n * m).reshape(n, m)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    hits = int(np.sum((both / np.maximum(union, 1))[1:, 1:] > 0.5))
    return 2 * hits / max(1, n + m - 2)


def fixed_distance(mask: np.ndarray, distance_px: int) -> np.ndarray:
    height = ndimage.gaussian_filter(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1], 1.0)
    peaks = peak_local_max(height, min_distance=distance_px, labels=ndimage.label(mask)[0], exclude_border=False)
    tops = np.zeros(mask.shape, int)
    tops[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-height, tops, mask=mask)


def masks(truth: np.ndarray) -> dict[str, np.ndarray]:
    clean = (truth > 0) | ndimage.binary_closing(truth > 0)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=truth.shape), 2)
    rough = ndimage.gaussian_filter(clean.astype(float), 1.5) + 0.12 * noise / noise.std() > 0.5
    return {"clean": clean, "rough": rough}


def answers(mask: np.ndarray) -> dict[str, np.ndarray]:
    found = {"pieces": separate(1 + mask.astype(np.uint8), Objects(2, split=0.0))}
    found |= {f"distance {px} px": fixed_distance(mask, px) for px in (3, 5, 8, 12, 20)}
    for split in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
        found[f"neck {split:g}"] = separate(1 + mask.astype(np.uint8), Objects(2, split=split))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name in SETS:
        for path in sorted((args.data / "segmentation" / name / "instances").glob("*.tif"))[:N_IMAGES]:
            truth = np.unique(tifffile.imread(path), return_inverse=True)[1].reshape(tifffile.imread(path).shape)
            for kind, mask in masks(truth).items():
                for method, found in answers(mask).items():
                    scores[method][f"{name}, {kind}"].append(f1(found, truth))
    table = {method: {column: float(np.mean(v)) for column, v in row.items()} for method, row in scores.items()}
    columns = next(iter(table.values()))
    print("| method |", " | ".join(columns), "| mean |\n|" + "---|" * (len(columns) + 2))
    for method, row in table.items():
        print(f"| {method} |", " | ".join(f"{v:.3f}" for v in row.values()), f"| {np.mean(list(row.values())):.3f} |")
    if args.out:
        args.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
