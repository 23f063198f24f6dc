"""Sharpening on the same grid: blurred and noisy images of known truth, beside deconvolution that knows the blur.

    python benchmarks/sharpen.py DATA [--pairs 2] [--blurs 0.8 1.2] [--dose 60] [--sets NAME ...] [--out sharpen.json] [--table sharpen.md]

DATA holds restoration/<set>/clean/*.tif. The clean images, of which the first ones are taken, are blurred by a Gaussian (sigma in px) and get
shot noise of --dose counts at their 99th percentile. PSNR of what is made of them: as they are, denoised by `em-denoise`, sharpened by
`em-sharpen`, and deconvolved by Richardson-Lucy and by Wiener's filter, which are told the blur, and whose number of steps or
balance is chosen for each image with the truth ("oracle"), of the image as it is and of the denoised one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from command import arguments, parsed, settings, write
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import richardson_lucy, wiener

import napari_fewshot as nf

Row = dict[str, Any]
SETS = ("bio_denoise", "haadf_sim", "hrtem_sim", "sem_denoise")
STEPS, BALANCES = (2, 4, 8, 16, 32), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def psnr(found: np.ndarray, true: np.ndarray) -> float:
    return float(peak_signal_noise_ratio(true, np.clip(found, 0, 1), data_range=1))


def point_spread(sigma: float) -> np.ndarray:
    at = np.zeros((13, 13))
    at[6, 6] = 1
    return gaussian_filter(at, sigma)


def deconvolved(seen: np.ndarray, true: np.ndarray, sigma: float) -> dict[str, float]:
    """The best PSNR of each method over its strengths."""
    psf, inside = point_spread(sigma), np.clip(seen, 1e-3, 1)
    lucy = max(psnr(richardson_lucy(inside, psf, n), true) for n in STEPS)
    return {"Richardson-Lucy": lucy, "Wiener": max(psnr(wiener(inside, psf, b), true) for b in BALANCES)}


def run(args: argparse.Namespace) -> Iterator[Row]:
    denoiser, sharpener = nf.load("em-denoise"), nf.load("em-sharpen")
    for name in args.sets:
        for file in sorted((args.data / "restoration" / name / "clean").glob("*.tif"))[: args.pairs]:
            true = tifffile.imread(file).astype(np.float64) / 255
            for sigma in args.blurs:
                rng = np.random.default_rng(0)
                high = np.percentile(true, 99)
                blurred = np.clip(gaussian_filter(true, sigma), 0, None)
                seen = (rng.poisson(blurred / high * args.dose) / args.dose * high).astype(np.float32)
                denoised = nf.predict(denoiser, seen)
                row = {"set": name, "file": file.stem, "blur": sigma, "input": psnr(seen, true)}
                row |= {"em-denoise": psnr(denoised, true), "em-sharpen": psnr(nf.predict(sharpener, seen), true)}
                row |= {f"{k} (oracle)": v for k, v in deconvolved(seen, true, sigma).items()}
                row |= {f"em-denoise, {k} (oracle)": v for k, v in deconvolved(denoised, true, sigma).items()}
                yield row
        print(name, flush=True)


def table(rows: list[Row]) -> str:
    """Markdown: mean PSNR of each method, by set and blur."""
    methods = [k for k in rows[0] if k not in ("set", "file", "blur")]
    lines = [f"| set, blur | {' | '.join(methods)} |", "| --- |" + " ---: |" * len(methods)]
    groups: dict[tuple[Any, Any], list[Row]] = {(r["set"], r["blur"]): [] for r in rows}
    for r in rows:
        groups[r["set"], r["blur"]].append(r)
    named = [(f"{name}, {blur} px", of) for (name, blur), of in groups.items()]
    for name, of in [*named, ("**mean**", rows)]:
        lines.append(f"| {name} | {' | '.join(f'{np.mean([r[m] for r in of]):.2f}' for m in methods)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments(__doc__, "out", "table")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--blurs", type=float, nargs="+", default=(0.8, 1.2))
    parser.add_argument("--dose", type=float, default=60.0)
    parser.add_argument("--sets", nargs="+", default=SETS)
    args = parsed(parser)
    rows = list(run(args))
    write({"settings": settings(args), "rows": rows}, table(rows), args.out, args.table)


if __name__ == "__main__":
    main()
