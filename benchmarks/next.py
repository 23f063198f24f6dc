"""What following *Next* is worth: score against number of strokes for simulated users, and how calibrated confidence is.

    python benchmarks/next.py DATA [--strokes 15] [--seeds 2] [--planes 1 4] [--sets NAME ...] [--out next.json] [--table next.md]

DATA holds segmentation/<set>/{images,labels}/*.tif. The user has some images of a set open as a stack (``--planes``) and
begins with one stroke of each class on the first image that shows every class. Then, one stroke at a time (60 px long,
3 px wide), with the last layer fitted again after each:
  random   paints the classes in turn, anywhere inside them, on an image drawn at random;
  uniform  goes to an image and a region drawn at random, and corrects what is wrong there;
  Next     goes where *Next* leads, and corrects what is wrong there.
Score: mean IoU over the classes present, on unpainted pixels of the open images ("open") and on up to four that are not
open ("other"). ECE: expected calibration error of the confidence on all pixels, with 15 bins (arXiv 1706.04599). "Next and
learned" also takes the dots it is sure of on the open images for strokes before it is scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tifffile
from command import arguments, parsed, write

import napari_fewshot as nf
from napari_fewshot.core.guide import SPOT_PX, Spot, next_spot, plan_looks, ranked, take_look
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.picture import picture_of
from napari_fewshot.core.scores import calibration_error, mean_iou
from napari_fewshot.core.simulate import simulate_correction, simulate_strokes
from napari_fewshot.core.strokes import painting_of
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.guide import Guide, look_over
from napari_fewshot.engine.painted import FeatureCache

SIDE = 512
N_OTHERS = 4
USERS = ("random", "uniform", "Next", "Next and learned")
AT = (6, 9, 12, 15)

Planes = list[tuple[np.ndarray, np.ndarray]]


@dataclass
class Session:
    """Open images (Y, X), their truths 1 .. K, what is painted on them, and the features seen so far."""

    open: Planes
    others: Planes
    generator: Generator
    seed: int
    cache: FeatureCache
    painted: list[np.ndarray] = field(default_factory=list)
    shown: list[Spot] = field(default_factory=list)
    n_strokes: int = 0

    def __post_init__(self) -> None:
        self.painted = [np.zeros(t.shape, np.uint16) for _, t in self.open]
        self.painted[0] = simulate_strokes(self.open[0][1], 1, self.seed)
        self.n_strokes = len(np.unique(self.painted[0])) - 1
        self.rng = np.random.default_rng(self.seed)

    def guide(self, extra: list[np.ndarray] | None = None) -> Guide:
        labels = extra or self.painted
        painting = painting_of([i for i, _ in self.open], labels)
        return Guide.of(self.generator, painting, self.cache, self.seed)

    def paint(self, user: str, guide: Guide) -> None:
        """One more stroke."""
        seed = int(self.rng.integers(2**31))
        if user == "random":
            classes = np.unique(self.open[0][1])
            z, k = int(self.rng.integers(len(self.open))), classes[self.n_strokes % len(classes)]
            here = np.where(self.open[z][1] == k, k, 0)
            z = z if here.any() else 0
            stroke = simulate_strokes(np.where(self.open[z][1] == k, k, 0), 1, seed)
        else:
            z, box = self.somewhere() if user == "uniform" else self.suggested(guide)
            image, truth = self.open[z]
            found = guide.answer(image, Intensity.measure(image)).values
            stroke = simulate_correction(truth, found, box, seed)
        self.painted[z] = np.where(stroke > 0, stroke, self.painted[z])
        self.n_strokes += 1

    def somewhere(self) -> tuple[int, tuple[slice, slice]]:
        z = int(self.rng.integers(len(self.open)))
        starts = [int(self.rng.integers(max(1, n - SPOT_PX + 1))) for n in self.open[z][0].shape]
        return z, (slice(starts[0], starts[0] + SPOT_PX), slice(starts[1], starts[1] + SPOT_PX))

    def suggested(self, guide: Guide) -> tuple[int, tuple[slice, slice]]:
        seen = [
            look_over(guide, replace(look, index=(z,)), *take_look(picture_of(image), look))
            for z, (image, _) in enumerate(self.open)
            for look in plan_looks(picture_of(image))
        ]
        spot = next_spot(ranked(seen), self.shown[-1:])
        assert spot is not None
        self.shown.append(spot)
        return spot.index[0], spot.box

    def learned(self, guide: Guide) -> list[np.ndarray]:
        """What is painted, and dots the guide is sure of."""
        labels = []
        for (image, _), painted in zip(self.open, self.painted, strict=True):
            both = painted.copy()
            for look in plan_looks(picture_of(image)):
                dots = look_over(guide, look, *take_look(picture_of(image), look), learn=True).learned
                if dots is not None:
                    y, x = dots.yx.T
                    both[y, x] = np.where(both[y, x] > 0, both[y, x], dots.classes)
            labels.append(both)
        return labels

    def scores(self, guide: Guide) -> dict[str, float]:
        """Of the open images without what is painted, and of the others."""
        found = {"open": [], "other": [], "ECE open": [], "ECE other": []}  # type: dict[str, list[float]]
        hidden = [np.where(p > 0, 0, t) for p, (_, t) in zip(self.painted, self.open, strict=True)]
        planes = [("open", i, h) for (i, _), h in zip(self.open, hidden, strict=True)]
        for where, image, truth in [*planes, *(("other", i, t) for i, t in self.others)]:
            answer = guide.answer(image, Intensity.measure(image))
            found[where].append(mean_iou(answer.values, truth))
            known = truth > 0
            found[f"ECE {where}"].append(calibration_error(answer.sure[known], (answer.values == truth)[known]))
        return {k: float(np.mean(v)) for k, v in found.items() if v}


def spread(items: list[Path], n: int) -> list[Path]:
    return items if len(items) <= n else [items[i] for i in np.linspace(0, len(items) - 1, n).round().astype(int)]


def labelled(folder: Path, n_planes: int) -> tuple[Planes, Planes]:
    """Images to open, the one to begin on first, and others; (Y, X) uint8 with classes 1 .. K."""
    names = sorted((folder / "images").glob("*.tif"))
    truths = {n: tifffile.imread(folder / "labels" / n.name)[:SIDE, :SIDE].astype(np.uint8) + 1 for n in names}
    first = max(names, key=lambda n: len(np.unique(truths[n])))
    rest = [n for n in names if n != first]
    opened = [first, *spread(rest, n_planes - 1)] if n_planes > 1 else [first]
    others = spread([n for n in rest if n not in opened], N_OTHERS)
    return tuple([(tifffile.imread(n)[:SIDE, :SIDE], truths[n]) for n in chosen] for chosen in (opened, others))  # type: ignore[return-value]


def play(folder: Path, n_planes: int, n_strokes: int, seeds: int) -> Iterator[dict[str, object]]:
    opened, others = labelled(folder, n_planes)
    generator, cache = nf.load("em-segment"), FeatureCache()
    for seed in range(seeds):
        for user in USERS[:3]:
            session = Session(opened, others, generator, seed, cache)
            about = {"set": folder.name, "planes": n_planes, "seed": seed}
            while True:
                guide, n = session.guide(), session.n_strokes
                yield {**about, "user": user, "strokes": n, **session.scores(guide)}
                if user == "Next" and n in AT:
                    yield {**about, "user": USERS[3], "strokes": n} | session.scores(
                        session.guide(session.learned(guide))
                    )
                if n >= n_strokes:
                    break
                session.paint(user, guide)


def at(run: dict[int, float], n: int) -> float:
    """A score after ``n`` strokes; a run that begins with more has its first score until then."""
    return run[max((m for m in run if m <= n), default=min(run))]


def table(rows: list[dict[str, object]], n_planes: int, value: str) -> str:
    """Markdown: mean over sets and seeds; users down, numbers of strokes across."""
    runs: dict[str, dict[tuple[object, object], dict[int, float]]] = {user: defaultdict(dict) for user in USERS}
    for row in rows:
        if row["planes"] == n_planes and value in row:
            runs[str(row["user"])][row["set"], row["seed"]][int(row["strokes"])] = float(row[value])  # type: ignore
    last = max(int(str(row["strokes"])) for row in rows)
    columns = [n for n in AT if n <= last]
    lines = [f"| {value}, {n_planes} image(s) open | " + " | ".join(f"{n} strokes" for n in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    means = {
        (user, n): float(np.mean([at(run, n) for run in found.values()]))
        for user, found in runs.items()
        for n in range(1, last + 1)
        if found
    }
    for user in USERS:
        lines.append(f"| {user} | " + " | ".join(f"{means.get((user, n), np.nan):.3f}" for n in columns) + " |")
    goal = means.get(("random", last))
    if not value.startswith("ECE") and goal is not None:
        for user in USERS[1:3]:
            enough = [n for n in range(1, last + 1) if means[user, n] >= goal]
            lines.append(f"\n{user} reaches the score of {last} random strokes with {enough[0] if enough else 'more'}.")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = arguments(__doc__, "out", "table")
    parser.add_argument("--strokes", type=int, default=AT[-1])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--planes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--sets", nargs="+")
    args = parsed(parser)
    folders = [f for f in sorted((args.data / "segmentation").iterdir()) if not args.sets or f.name in args.sets]
    rows = []
    for n_planes in args.planes:
        for folder in folders:
            rows += list(play(folder, n_planes, args.strokes, args.seeds))
            print(f"{folder.name}, {n_planes} open: done", flush=True)
    values = ("open", "other", "ECE open", "ECE other")
    text = "\n".join(table(rows, n, value) for n in args.planes for value in values)
    write(rows, text, args.out, args.table)


if __name__ == "__main__":
    main()
