"""Tables, plots and crops of `restoration.py`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TITLES = {"denoise": "Denoising", "superres": "Super-resolution", "background": "Noise and background removal"}
CROPS = ("input", "bicubic", "BM3D (oracle)", "BM3D + bicubic (oracle)", "BM3D + rolling ball (oracle)",
         "ours, zero-shot", "ours, 10 s", "ours, 60 s")  # fmt: skip
CROP_PX = 128
REUSED = "The time of BM3D itself is left out where its result was at hand: in BM3D + rolling ball and BM3D + Gaussian background."
SOURCES = (
    "fib: *Drosophila* medulla, FlyEM / NeuroProof example data (CC BY 3.0); ebc, nano and super: SEM images under the MIT licence; "
    "Au and others: simulated (CC0). All were made noisy, small or uneven here."
)
Rows = list[dict[str, Any]]


def report(rows: Rows) -> str:
    """Markdown tables: each task by set and by dose, times, and trust."""
    out = ["# Restoration: figures", ""]
    for task, title in TITLES.items():
        mine = [r for r in rows if r["task"] == task]
        if not mine:
            continue
        out += [f"## {title}", ""]
        for value, digits in (("PSNR", 2), ("SSIM", 3), ("measurement error %", 2)):
            out += [f"### {value}", "", table(mine, "set", value, digits), ""]
        out += ["### PSNR by dose (electrons a pixel at grey level 1)", "", table(of_all(mine), "dose", "PSNR", 2), ""]
        out += ["### Seconds a megapixel", "", REUSED, "", table(mine, "set", "s/Mpx", 2), ""]
    trust = [r for r in rows if "structure" in r]
    if trust:
        out += ["## Trust, all methods of ours", ""]
        for value, digits in (("coverage of 90 %", 3), ("correlation", 2), ("correlation of neighbours", 2), ("within", 3), ("structure", 3), ("mean shift %", 3)):  # fmt: skip
            known = [r for r in trust if value in r]
            out += [f"### {value}", "", table(known, "set", value, digits), ""] if known else []
        out += pooled([r for r in trust if "moments" in r])
    return "\n".join(out) + "\n"


def of_all(rows: Rows) -> Rows:
    """Of methods that were asked for every image: others would be compared on other images."""
    images = {(r["set"], r["file"]) for r in rows}
    whole = [
        m
        for m in {r["method"] for r in rows}
        if len({(r["set"], r["file"]) for r in rows if r["method"] == m}) == len(images)
    ]
    return [r for r in rows if r["method"] in whole]


def pooled(rows: Rows) -> list[str]:
    """Correlation of predicted and true error over the pixels of all images of a set: between images counts too."""
    if not rows:
        return []
    methods = list(dict.fromkeys(r["method"] for r in rows))
    out = ["### correlation over all images of a set", "", "| set | " + " | ".join(methods) + " |"]
    out += ["| --- |" + " ---: |" * len(methods)]
    for name in (*sorted({r["set"] for r in rows}), "**all sets**"):
        cells = []
        here = of_all([r for r in rows if name in (r["set"], "**all sets**")])
        for method in methods:
            if not (mine := [r["moments"] for r in here if r["method"] == method]):
                cells.append("-")
                continue
            sigma, error, sigma2, error2, both = np.mean(mine, 0)
            cells.append(f"{(both - sigma * error) / np.sqrt((sigma2 - sigma**2) * (error2 - error**2)):.3f}")
        out.append(f"| {name} | {' | '.join(cells)} |")
    return [*out, ""]


def table(rows: Rows, by: str, value: str, digits: int) -> str:
    """Sets or doses down, methods across, then the mean of the lines, for methods that did every line."""
    cells: dict[tuple[Any, str], list[float]] = defaultdict(list)
    for row in rows:
        cells[row[by], row["method"]].append(row[value])
    lines, methods = sorted({r[by] for r in rows}), list(dict.fromkeys(r["method"] for r in rows))
    mean = {key: float(np.mean(values)) for key, values in cells.items()}
    show = lambda v: "-" if v is None else f"{v:.{digits}f}"  # noqa: E731
    out = [f"| {by} | " + " | ".join(methods) + " |", "| --- |" + " ---: |" * len(methods)]
    out += [f"| {line} | " + " | ".join(show(mean.get((line, m))) for m in methods) + " |" for line in lines]
    whole = [
        float(np.mean([mean[a, m] for a in lines])) if all((a, m) in mean for a in lines) else None for m in methods
    ]
    return "\n".join([*out, f"| **mean** | {' | '.join(map(show, whole))} |"])


def figures(rows: Rows, shown: dict[str, Any], folder: Path) -> str:
    """Plot PSNR against dose and seconds, lay crops side by side; markdown that shows them."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    (folder / "figures").mkdir(parents=True, exist_ok=True)
    out = ["## Plots", ""]
    for task, title in TITLES.items():
        mine = of_all([r for r in rows if r["task"] == task])
        if not mine:
            continue
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
        methods = list(dict.fromkeys(r["method"] for r in mine))
        given: dict[tuple[str, str], float] = {}
        for r in mine:
            given.setdefault((r["set"], r["file"]), r["PSNR"])  # of the first method, which does nothing
        for n, method in enumerate(methods):
            of = [r for r in mine if r["method"] == method]
            doses = sorted({r["dose"] for r in of})
            gains = [np.mean([r["PSNR"] - given[r["set"], r["file"]] for r in of if r["dose"] == d]) for d in doses]
            is_ours = method.startswith("ours")
            look = {"color": plt.get_cmap("tab20")(n), "marker": "s" if is_ours else "o", "label": method}
            axes[0].plot(doses, gains, linewidth=2.5 if is_ours else 1, **look)
            cost, found = np.median([r["s/Mpx"] for r in of]), np.mean([r["PSNR"] for r in of])
            axes[1].plot(cost, found, linestyle="", **look)
        for axis, label in zip(axes, ("dose, electrons a pixel", "seconds a megapixel"), strict=True):
            axis.set(xlabel=label, xscale="log")
        axes[0].set_ylabel(f"gain over {methods[0]}, dB PSNR")
        axes[1].set_ylabel("PSNR, dB")
        figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside right upper")
        figure.suptitle(title)
        figure.savefig(folder / "figures" / f"restoration-{task}.png", dpi=110)
        plt.close(figure)
        out += [f"![{title}](figures/restoration-{task}.png)", ""]
    out += ["## Side by side", "", f"The middle of one image of each set; from the left as named. {SOURCES}", ""]
    for name, (case, answers) in shown.items():
        pictures = {**answers, "target": case.wanted}
        figure, axes = plt.subplots(1, len(pictures), figsize=(2.1 * len(pictures), 2.4), layout="constrained")
        low, high = np.percentile(case.wanted, [0.5, 99.5])
        for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
            y, x = ((n - CROP_PX) // 2 for n in picture.shape)
            axis.imshow(picture[y : y + CROP_PX, x : x + CROP_PX], cmap="gray", vmin=low, vmax=high)
            axis.set_title(title, fontsize=7)
            axis.axis("off")
        path = folder / "figures" / f"restoration-{name}.png"
        figure.savefig(path, dpi=110)
        Image.open(path).convert("L").save(path, optimize=True)
        plt.close(figure)
        out += [f"**{name}** ({case.file})", "", f"![{name}](figures/restoration-{name}.png)", ""]
    return "\n".join(out)
