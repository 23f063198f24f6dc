"""Fine lattices with little noise, for which denoisers are not made: is what comes out at least as good as what went in?

    python benchmarks/lattices.py [--models em-denoise em-denoise-base] [--noise 3 5 20] [--threads 2]

Drawn, 256 x 256 px on a level of 100, every 3 to 8 px a fringe (amplitude 28) or an atom (peak 80), with Gaussian noise of so many grey
levels. PSNR of the noisy image, before the arrow, and of what each model makes of it, against the range of the clean one.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import napari_fewshot as nf

SIDE = 256
ATOMS = {"atoms 4.3 px": (4.3, 1.0), "atoms 5.5 px": (5.5, 1.2), "atoms 8 px": (8.0, 1.6)}


def lattices() -> dict[str, np.ndarray]:
    """Clean pictures by name, (SIDE, SIDE)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    found = {f"fringes {p} px": 28 * np.cos(2 * np.pi * x / p) for p in (3, 4.1)}
    found |= {f"square {p} px": 28 * np.cos(2 * np.pi * x / p) * np.cos(2 * np.pi * y / p) for p in (4.1, 5)}
    for name, (period, sigma) in ATOMS.items():
        row = np.exp(-(((np.arange(SIDE)[:, None] - np.arange(0, SIDE, period)) / sigma) ** 2) / 2).sum(1)
        found[name] = 80 * np.outer(row, row)
    return {name: 100 + lattice for name, lattice in found.items()}


def psnr(found: np.ndarray, true: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(true) ** 2 / np.mean((found - true) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=("em-denoise", "em-denoise-base"))
    parser.add_argument("--noise", type=float, nargs="+", default=(3.0, 5.0, 20.0))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    columns = [f"{model}, noise {std:g}" for model in args.models for std in args.noise]
    print(f"| dB | {' | '.join(columns)} |\n| --- |" + " ---: |" * len(columns))
    generators = [nf.load(model) for model in args.models]
    for name, clean in lattices().items():
        cells = []
        for generator in generators:
            for std in args.noise:
                noisy = (clean + np.random.default_rng(0).normal(0, std, clean.shape)).astype(np.float32)
                cells.append(f"{psnr(noisy, clean):.1f} -> {psnr(nf.predict(generator, noisy), clean):.1f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
