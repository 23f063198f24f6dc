"""What asking the neighbours brings: each pixel decided alone, and along the edges of the image, for the head and for a peer.

    python benchmarks/edges.py DATA [--strokes 3 6 15] [--seeds 1] [--first-seed 2] [--models em-segment em-segment-base] [--side 512]
        [--others 2] [--out edges.json] [--table FILE]

DATA holds segmentation/<set>/{images,labels}/*.tif. Simulated strokes on the first image that shows every class; mean IoU on its
unpainted pixels ("painted image") and on some others ("other images"), and the expected calibration error (15 bins) of the
confidence there; heads only. Seeds 0 and 1 were looked at when the rounds were chosen. The peer is extra-trees on normalised
hand-made features, whose probabilities are settled by the same rounds. Needs scikit-learn and scikit-image beside the package.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from command import arguments, parsed, settings, write
from peers import CLASSIFIERS, OTHERS, PAINTED, features, labelled

import napari_fewshot as nf
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.job import Budget
from napari_fewshot.core.scores import calibration_error, mean_iou
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.engine import edges
from napari_fewshot.engine.edges import classes_of, probability_of
from napari_fewshot.engine.fine_tune import fine_tune_segment
from napari_fewshot.engine.predict import predict_plane

PEER = "extra-trees, normalised"
WAYS = {"alone": 0.0, "along edges": edges.PULL}

Answer = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # image -> classes and confidence


def ours(model: str, image: np.ndarray, strokes: np.ndarray) -> Answer:
    tuned = fine_tune_segment(nf.load(model), painting_of([image], [strokes]), Budget(steps=0))

    def answer(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, sure = predict_plane(tuned, plane, confidence=True)
        assert sure is not None
        return values, sure

    return answer


def peer(image: np.ndarray, strokes: np.ndarray) -> Answer:
    forest = CLASSIFIERS["extra-trees"]().fit(features(image, True)[strokes.ravel() > 0], strokes[strokes > 0])

    def answer(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        likely = forest.predict_proba(features(plane, True)).T.reshape(-1, *plane.shape)
        logits = torch.from_numpy(np.log(np.clip(likely, 1e-3, None))).float()
        found, logits = classes_of(logits, Intensity.measure(plane).to_unit(plane))
        return forest.classes_[found], probability_of(found, logits)

    return answer


def rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    methods = {name: partial(ours, name) for name in args.models} | {PEER: peer}
    for folder in sorted(p for p in (args.data / "segmentation").iterdir() if (p / "images").is_dir()):
        pictures = labelled(folder, args.side, args.others)
        image, truth = pictures[0]
        for n in args.strokes:
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                strokes = simulate_strokes(truth, n, seed)
                for name, fit in methods.items():
                    answer = fit(image, strokes)
                    for way, pull in WAYS.items():
                        edges.PULL = pull
                        for i, (plane, true) in enumerate(pictures):
                            asked = (true > 0) if i else (true > 0) & (strokes == 0)
                            values, sure = answer(plane)
                            yield {"set": folder.name, "strokes": n, "seed": seed, "method": name, "way": way,
                                   "on": OTHERS if i else PAINTED,
                                   "IoU": mean_iou(np.where(asked, values, 0), np.where(asked, true, 0)),
                                   "ECE": calibration_error(sure[asked], (values == true)[asked])}  # fmt: skip
        print(folder.name, "done", flush=True)


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: methods and strokes down, then means of the sets and of how many sets got better and worse."""
    cells: dict[Any, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for r in found:
        cells[r["method"], r["strokes"], r["on"], r["way"]][r["set"]].append((r["IoU"], r["ECE"]))
    lines = ["| | strokes | on | IoU alone | IoU along edges | sets better | ECE alone | ECE along edges |"]
    lines.append("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for method, n, on in dict.fromkeys(k[:3] for k in cells):
        alone, along = (np.array([np.mean(v, 0) for v in cells[method, n, on, way].values()]) for way in WAYS)
        better = f"{int(np.sum(along[:, 0] > alone[:, 0]))} of {len(alone)}"
        iou, ece = ([f"{float(x[:, i].mean()):.3f}" for x in (alone, along)] for i in (0, 1))
        lines.append(f"| {method} | {n} | {on} | {' | '.join(iou)} | {better} | {' | '.join(ece)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = arguments(__doc__, "out", "table")
    parser.add_argument("--strokes", type=int, nargs="+", default=[3, 6, 15])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["em-segment", "em-segment-base"])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--others", type=int, default=2)
    args = parsed(parser)
    found = list(rows(args))
    write({"scale": settings(args), "rows": found}, table(found), args.out, args.table)


if __name__ == "__main__":
    main()
