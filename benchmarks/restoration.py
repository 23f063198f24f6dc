"""How well the restorations do beside other tools: fidelity, a measurement, time, and how far their doubts can be trusted.

    python benchmarks/restoration.py DATA [--pairs 4] [--sets ...] [--methods ...] [--out results/restoration.jsonl] [--page docs]

DATA holds restoration/<set>/{noisy|lr}/*.tif and {clean|clean_nobg|hr}/*.tif (uint8, level = value / 255), with pairs.csv
that tells doses. PSNR and SSIM (skimage, data range 1) after clipping to 0..1; in background sets after the least-squares
gain and offset, for every method. A method called "oracle" tries several strengths and keeps the one closest to the target,
which no user could; an "oracle" is an upper bound. Times are wall times a megapixel of the answer, an oracle's of one candidate.

The measurement is the lattice spacing (the strongest peak of the power spectrum) for the simulated crystals, and the area
above Otsu's threshold of the target for all others; its error is relative, in percent.

Rows are appended to --out as they come, and what is there already is not done again, so that a run can be interrupted.
Needs PyWavelets and matplotlib beside the package; BM3D (package bm3d) and Noise2Void (package careamics) when they are there.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from restoration_page import CROPS, figures, report
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet, estimate_sigma, rolling_ball
from skimage.transform import resize

import napari_fewshot as nf
from napari_fewshot.core.restoring import Restoring
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.network import Network
from napari_fewshot.engine.restoration import restore_plane

FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of the estimated noise, for oracles
OWN = ("zero-shot", "base, zero-shot", "10 s", "60 s", "random 10 s", "random 60 s")
NEAR_PX = 2.0  # sigma of the neighbours whose true error is the best map of doubt that could be
LATTICE_PX = (3.0, 40.0)  # periods that count as a lattice
Facts = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """One pair of a set: what is given and what is wanted, float64 (Y, X), 0..1."""

    set: str
    task: str
    factor: int
    file: str
    dose: float
    given: np.ndarray
    wanted: np.ndarray

    @property
    def model(self) -> str:
        return {"denoise": "em-denoise", "background": "em-background"}.get(self.task, f"em-superres-x{self.factor}")


Answer = tuple[list[np.ndarray], Facts]


def cases(data: Path, n: int, sets: list[str] | None) -> Iterator[Case]:
    for folder in sorted(p for p in (data / "restoration").iterdir() if p.is_dir()):
        jobs = [("denoise", 1, "noisy", "clean", folder.name)]
        if (folder / "lr").is_dir():
            jobs = [("superres", int(folder.name.rsplit("_x", 1)[1]), "lr", "hr", folder.name)]
        elif folder.name.endswith("_background"):
            jobs = [("background", 1, "noisy", "clean", folder.name)]
        elif (folder / "clean_nobg").is_dir():
            jobs.append(("background", 1, "noisy", "clean_nobg", folder.name + "_nobg"))
        doses = {row["name"]: float(row["dose"]) for row in csv.DictReader((folder / "pairs.csv").open())}
        for task, factor, given, wanted, name in jobs:
            if sets and name not in sets:
                continue
            for path in spread(sorted((folder / given).glob("*.tif")), n):
                pair = (tifffile.imread(folder / side / path.name) / 255.0 for side in (given, wanted))
                yield Case(name, task, factor, path.stem, doses.get(path.stem, 0.0), *pair)


def spread(items: list[Path], n: int) -> list[Path]:
    return items if len(items) <= n else [items[i] for i in np.linspace(0, len(items) - 1, n).round().astype(int)]


# peers


def upscaled(image: np.ndarray, factor: int) -> np.ndarray:
    """Bicubic with the areas of pixels aligned."""
    shape = [n * factor for n in image.shape]
    return resize(image, shape, order=3, mode="reflect", anti_aliasing=False, clip=False) if factor > 1 else image


@cache
def bm3d(pixels: bytes, shape: tuple[int, int], factor: float) -> tuple[np.ndarray, float]:
    from bm3d import bm3d as run

    image, began = np.frombuffer(pixels).reshape(shape), time.perf_counter()
    return run(image, sigma_psd=factor * float(estimate_sigma(image))), time.perf_counter() - began


def denoisers(image: np.ndarray) -> dict[str, Callable[[], Iterable[np.ndarray]]]:
    sigma = float(estimate_sigma(image))
    return {
        "input": lambda: [image],
        "Gaussian (oracle)": lambda: (gaussian_filter(image, s) for s in (0.5, 0.7, 1, 1.5, 2, 3, 4)),
        "non-local means (oracle)": lambda: (
            denoise_nl_means(image, patch_size=5, patch_distance=6, h=0.8 * f * sigma, sigma=f * sigma) for f in FACTORS
        ),
        "TV (oracle)": lambda: (denoise_tv_chambolle(image, weight=w) for w in (0.03, 0.06, 0.1, 0.15, 0.25, 0.4)),
        "wavelet (oracle)": lambda: (
            denoise_wavelet(image, sigma=f * sigma, method="BayesShrink", mode="soft", rescale_sigma=True)
            for f in FACTORS
        ),
        "BM3D": lambda: [bm3d(image.tobytes(), image.shape, 1.0)[0]],
        "BM3D (oracle)": lambda: (bm3d(image.tobytes(), image.shape, f)[0] for f in FACTORS),
        "Noise2Void 10 s": lambda: [noise2void(image, 10)],
        "Noise2Void 60 s": lambda: [noise2void(image, 60)],
    }


def cleaners(image: np.ndarray) -> dict[str, Callable[[], Iterable[np.ndarray]]]:
    smooth = lambda: (bm3d(image.tobytes(), image.shape, f)[0] for f in (1.0, 2.0, 3.0))  # noqa: E731

    def without_ball(x: np.ndarray) -> np.ndarray:
        ball = rolling_ball(255 * x, radius=50) / 255  # levels 0..255 as in ImageJ
        return x - ball + ball.mean()

    def without_wide(x: np.ndarray, sigma: float) -> np.ndarray:
        wide = gaussian_filter(x, sigma, mode="reflect")
        return x - wide + wide.mean()

    return {
        "input": lambda: [image],
        "rolling ball": lambda: [without_ball(image)],
        "BM3D (oracle)": lambda: (bm3d(image.tobytes(), image.shape, f)[0] for f in FACTORS),
        "BM3D + rolling ball (oracle)": lambda: map(without_ball, smooth()),
        "BM3D + Gaussian background (oracle)": lambda: (
            without_wide(x, s) for x in smooth() for s in (20, 40, 80, 160)
        ),
    }


def enlargers(image: np.ndarray, factor: int) -> dict[str, Callable[[], Iterable[np.ndarray]]]:
    return {
        "input": lambda: [image.repeat(factor, 0).repeat(factor, 1)],
        "bicubic": lambda: [upscaled(image, factor)],
        "BM3D + bicubic": lambda: [upscaled(bm3d(image.tobytes(), image.shape, 1.0)[0], factor)],
        "BM3D + bicubic (oracle)": lambda: (
            upscaled(bm3d(image.tobytes(), image.shape, f)[0], factor) for f in FACTORS
        ),
    }


def noise2void(image: np.ndarray, seconds: float) -> np.ndarray:
    """CAREamics, trained from scratch on the image for so many seconds."""
    import tempfile
    from datetime import timedelta

    from careamics import CAREamist
    from careamics.config.factories.n2v_factory import create_advanced_n2v_config
    from lightning.pytorch.callbacks import Timer

    stack = np.repeat((image * 255).astype(np.float32)[None], max(1, round(50 * 16 / (image.size / 64**2))), 0)
    with tempfile.TemporaryDirectory() as folder:
        config = create_advanced_n2v_config(
            experiment_name="bench", data_type="array", axes="SYX", patch_size=[64, 64], batch_size=16, num_epochs=300,
            num_workers=0, n_val_patches=2, trainer_params={"accelerator": "cpu", "enable_model_summary": False},
        )  # fmt: skip
        timer = Timer(duration=timedelta(seconds=seconds), interval="step")
        model = CAREamist(config, work_dir=folder, enable_progress_bar=False, callbacks=[timer])
        model.train(train_data=stack)
        out = model.predict(pred_data=(image * 255).astype(np.float32)[None])[0]
    return np.squeeze(np.asarray(out[0] if isinstance(out, list) else out)) / 255


# ours


@cache
def pretrained(model: str, device: str) -> Generator:
    return nf.load(model, device)


def untrained(model: str, device: str) -> Generator:
    torch.manual_seed(0)
    card = pretrained(model, device).card
    return Generator(card, Network.of_card(card), device)


def ours(case: Case, how: str, device: str) -> Answer:
    name = case.model + "-base" if how.startswith("base") else case.model
    generator = (untrained if how.startswith("random") else pretrained)(name, device)
    began = time.perf_counter()
    given = case.given.astype(np.float32)
    if how.endswith("s"):
        generator = nf.fine_tune(generator, given, seconds=float(how.split()[-2]), seed=0)
    restored = restore_plane(generator, given)
    facts: Facts = {"structure": restored.report.structure, "within": restored.report.within}
    facts["s/Mpx"] = 1e6 * (time.perf_counter() - began) / case.wanted.size
    facts["mean shift %"] = 100 * abs(float(restored.values.mean()) / float(given.mean()) - 1)
    if how.endswith("zero-shot") and case.task != "background":  # there grey levels are only known to a gain
        sigma = restore_plane(generator, given, Restoring(uncertainty=True)).maps["uncertainty"].ravel()
        off = np.abs(restored.values - case.wanted)
        near, own = gaussian_filter(off**2, NEAR_PX), off**2 / (2 * np.pi * NEAR_PX**2)
        facts["correlation of neighbours"] = float(
            np.corrcoef(np.sqrt((near - own).clip(0)).ravel(), off.ravel())[0, 1]
        )
        error = off.ravel()
        facts["coverage of 90 %"] = float(np.mean(error <= 1.645 * sigma))
        facts["correlation"] = float(np.corrcoef(sigma, error)[0, 1])
        facts["moments"] = [
            float(np.mean(m, dtype=np.float64)) for m in (sigma, error, sigma**2, error**2, sigma * error)
        ]
    return [restored.values.astype(float)], facts


# scores


def affine(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    gain, offset = np.polyfit(x.ravel(), target.ravel(), 1) if x.std() > 0 else (0.0, target.mean())
    return gain * x + offset


def spacing(image: np.ndarray) -> float:
    """Period of the strongest lattice frequency, px, to a fraction of a bin."""
    window = np.outer(*(np.hanning(n) for n in image.shape))
    power = np.abs(np.fft.rfft2((image - image.mean()) * window)) ** 2
    fy, fx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None]
    f = np.hypot(fy, fx)
    power = np.where((f > 1 / LATTICE_PX[1]) & (f < 1 / LATTICE_PX[0]), power, 0)
    y, x = np.unravel_index(power.argmax(), power.shape)
    near = (
        np.abs(np.fft.fftfreq(len(power), 1 / len(power))[:, None] - (y if y <= len(power) // 2 else y - len(power)))
        <= 1
    )
    near = near & (np.abs(np.arange(power.shape[1])[None] - x) <= 1)
    return float(1 / np.average(np.broadcast_to(f, power.shape)[near], weights=power[near] + 1e-30))


def measured(image: np.ndarray, case: Case) -> float:
    if case.set.startswith(("hrtem", "haadf")):
        return spacing(image)
    return float(np.mean(image > threshold_otsu(case.wanted)))


def scores(answer: np.ndarray, case: Case) -> Facts:
    x = np.clip(affine(answer, case.wanted) if case.task == "background" else answer, 0, 1)
    truth = measured(case.wanted, case)
    return {
        "PSNR": float(peak_signal_noise_ratio(case.wanted, x, data_range=1)),
        "SSIM": float(structural_similarity(case.wanted, x, data_range=1)),
        "measurement error %": 100 * abs(measured(x, case) / truth - 1) if truth else 0.0,
    }


def methods(case: Case, device: str) -> dict[str, Callable[[], Answer]]:
    plain = {"denoise": denoisers, "background": cleaners}.get(case.task, partial(enlargers, factor=case.factor))
    made: dict[str, Callable[[], Answer]] = {
        name: partial(lambda f: (list(f()), {}), f) for name, f in plain(case.given).items()
    }
    own = [how for how in OWN if case.model != "em-superres-x4" or not how.startswith("base")]
    return made | {f"ours, {how}": partial(ours, case, how, device) for how in own}


def run(case: Case, name: str, method: Callable[[], Answer]) -> tuple[dict[str, Any], np.ndarray] | None:
    bm3d.cache_clear() if name == "BM3D" or name.startswith("input") else None
    began = time.perf_counter()
    try:
        answers, facts = method()
    except ImportError as error:
        print(f"{name}: left out, {error}")
        return None
    seconds = (time.perf_counter() - began) / len(answers)
    found = [scores(a, case) for a in answers]
    best = int(np.argmax([s["PSNR"] for s in found]))
    row = {"set": case.set, "task": case.task, "file": case.file, "dose": case.dose, "method": name}
    return row | found[best] | {"s/Mpx": 1e6 * seconds / case.wanted.size} | facts, answers[best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--methods", nargs="+", help="only those whose name begins so")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("restoration.jsonl"))
    parser.add_argument("--page", type=Path, help="folder for restoration-figures.md, plots and crops")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(r["set"], r["file"], r["method"]) for r in rows}
    shown: dict[str, tuple[Case, dict[str, np.ndarray]]] = {}
    for case in cases(args.data, args.pairs, args.sets):
        for name, method in methods(case, args.device).items():
            is_shown = args.page and shown.get(case.set, (case, {}))[0] is case and name in CROPS
            if args.methods and not name.startswith(tuple(args.methods)):
                continue
            if (case.set, case.file, name) in done and not is_shown:
                continue
            if (result := run(case, name, method)) is None:
                continue
            if is_shown:
                shown.setdefault(case.set, (case, {}))[1][name] = result[1]
            if (case.set, case.file, name) not in done:
                rows.append(result[0])
                with args.out.open("a") as file:
                    file.write(json.dumps(result[0]) + "\n")
                print(*(f"{v:.3f}" if isinstance(v, float) else v for v in result[0].values()), flush=True)
    text = report(rows)
    print(text)
    if args.page:
        (args.page / "restoration-figures.md").write_text(text + figures(rows, shown, args.page))


if __name__ == "__main__":
    main()
