"""What the benchmarks of pretraining share: sets, folds, weights that are made once and kept, tables with spread, plots."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.shelf import read_model
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.pretexts.pretext import LabelledSet
from napari_fewshot.engine.pretrain import pretrain
from napari_fewshot.engine.recipe import NET, Recipe
from napari_fewshot.tasks import TASKS

NEVER = ("vnc",)  # its licence forbids commercial use
UNLABELLED = {  # set -> the unlabelled file that shows the same specimens
    "em_particles": "emps",
    "fibsem_medulla": "fib25_medulla",
    "fluo_nuclei": "fluo",
    "hrtem_particles_sim": "sim_atomic",
    "sem_axon_myelin": "axon_sem",
    "sem_ebc_oxide": "nasa_ebc",
    "sem_nanocomposite": "nanocomposite",
    "sem_superalloy": "nasa_superalloy",
    "sstem_vnc": "vnc",
}
RANDOM = ""  # pretexts of weights that learned nothing

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One pretraining.

    Parameters
    ----------
    pretexts : str
        As on the command line; ``RANDOM`` leaves the weights random.
    steps, seed : int
    unseen : tuple of str
        Sets whose labels and specimens are left out.
    net : dict
    share : float
        Of the unlabelled planes.
    """

    pretexts: str
    steps: int
    seed: int
    unseen: tuple[str, ...]
    net: dict[str, Any] = field(default_factory=lambda: dict(NET))
    share: float = 1.0

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


def set_names(data: Path, wanted: Sequence[str] = ()) -> list[str]:
    names = sorted(p.name for p in (data / "segmentation").iterdir() if (p / "images").is_dir())
    return [n for n in names if not wanted or n in wanted]


def read_set(data: Path, name: str) -> LabelledSet:
    """All images of a set and their labels 0 .. K - 1."""
    files = sorted((data / "segmentation" / name / "images").glob("*.tif"))
    images = tuple(tifffile.imread(f) for f in files)
    return LabelledSet(name, images, tuple(tifffile.imread(f.parents[1] / "labels" / f.name) for f in files))


def weights(run: Run, data: Path, work: Path, device: str = "auto", adversarial: float = 0.0) -> Path:
    """The folder with the models of a run; trained now unless it was before."""
    from napari_fewshot.cli_pretrain import parse_pretexts

    out = work / run.name
    if out.is_dir() and any(out.glob("em-*/card.json")):
        return out
    hidden = {UNLABELLED[s] for s in run.unseen} | set(NEVER)
    files = [f for f in sorted((data / "pretrain").glob("*.tif")) if not any(f.name.startswith(h) for h in hidden)]
    learns = bool(run.pretexts and run.steps)
    files = files if learns else files[:1]
    pictures = [Picture(_part(tifffile.imread(f), run.share), "ZYX", f.name) for f in files]
    known = (
        [s for s in set_names(data) if s not in run.unseen and not any(n in s for n in NEVER)] if run.pretexts else []
    )
    print(f"pretraining {run}", flush=True)
    recipe = Recipe(
        tuple(pictures),
        tuple(read_set(data, s) for s in known),
        pretexts=parse_pretexts(run.pretexts or "restore,episodic"),
        steps=run.steps if learns else 0,
        seed=run.seed,
        net=run.net,
        device=device,
        adversarial=adversarial,
    )
    pretrain(recipe, out)
    (out / "run.json").write_text(json.dumps(asdict(run)))
    return out


def kept(work: Path, what: Row, scale: Sequence[Any], rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of one run, told apart by ``what``: those in ``work`` from an earlier run at this scale, or new ones."""
    file = work / f"{hashlib.sha256(json.dumps([what, scale]).encode()).hexdigest()[:16]}.json"
    if not file.is_file():
        file.write_text(json.dumps([what | row for row in rows]))
    yield from json.loads(file.read_text())


def _part(planes: np.ndarray, share: float) -> np.ndarray:
    return planes[np.linspace(0, len(planes) - 1, max(1, round(share * len(planes)))).astype(int)]


def segmenter(folder: Path) -> Generator:
    """``em-segment`` of a run, or one with the backbone of its denoiser and an unlearned head."""
    if (folder / "em-segment").is_dir():
        return Generator.from_file(read_model(folder / "em-segment"))
    denoiser = Generator.from_file(read_model(folder / "em-denoise"))
    card = ModelCard("em-segment", "segment", denoiser.card.net, zooms=TASKS["segment"].zooms)
    network = Network.of_card(card)
    network.backbone.load_state_dict(denoiser.network.backbone.state_dict())
    return Generator(card, network)


def table(rows: Iterable[dict[str, Any]], down: Sequence[str], across: str, value: str, digits: int = 3) -> str:
    """Markdown: mean over sets, then mean ± standard deviation over seeds; NaN where nothing was measured."""
    rows = list(rows)
    cells: dict[Any, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[tuple(row[d] for d in down), row[across]][row["seed"]].append(row[value])
    heads, columns = (list(dict.fromkeys(k[i] for k in cells)) for i in (0, 1))
    lines = [f"| {' | '.join([*down, *map(str, columns)])} |", "|" + " --- |" * len(down) + " ---: |" * len(columns)]
    for head in heads:
        texts = []
        for column in columns:
            seeds = [float(np.mean(v)) for v in cells[head, column].values()]
            spread = f" ± {np.std(seeds, ddof=1):.{digits}f}" if len(seeds) > 1 else ""
            texts.append(f"{np.mean(seeds):.{digits}f}{spread}" if seeds else "-")
        lines.append(f"| {' | '.join([*map(str, head), *texts])} |")
    return "\n".join([*lines, ""])


def plot(path: Path, rows: Iterable[dict[str, Any]], x: str, y: str, line: str, logarithmic: bool = False) -> None:
    """A line for each kind with a band of one standard deviation over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found: dict[str, dict[float, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        found[row[line]][row[x]][row["seed"]].append(row[y])
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for name, points in found.items():
        at = sorted(points)
        seeds = [[np.mean(v) for v in points[p].values()] for p in at]
        mean, sd = np.array([np.mean(s) for s in seeds]), np.array([np.std(s) for s in seeds])
        axes.plot(at, mean, marker="o", label=name)
        axes.fill_between(at, mean - sd, mean + sd, alpha=0.15)
    ticks = sorted({at for points in found.values() for at in points})
    axes.set(xlabel=x, ylabel=y, xscale="log" if logarithmic else "linear")
    axes.set_xticks(ticks, [f"{at:g}" for at in ticks])
    axes.minorticks_off()
    figure.legend(fontsize="small", loc="outside right upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
