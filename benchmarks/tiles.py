"""Prediction through tiles against the alternatives: same network, same picture, same threads, interleaved rounds.

    python benchmarks/tiles.py [--threads 2] [--side 2048] [--rounds 3] [--out tiles.json]

Needs monai beside the package. Prints throughput as ratios, the largest difference to the untiled answer, how peak memory
grows with the picture (a fresh process for each size), and the seconds in which each embedded restoration answers for the whole
picture as a user asks for it, noise measured and all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import napari_fewshot as nf
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.shelf import Shelf
from napari_fewshot.core.tiles import Tile, plan_tiles
from napari_fewshot.engine.device import choose_tile_px
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.tiled import each_tile, run
from napari_fewshot.samples import image as sample_image

IN_MEMORY = ("em-denoise", "em-background")  # whose peaks are told
MODEL = "em-background"  # a restoration that is its network's answer, but for the mean, which is kept at the input's


def picture(side_px: int) -> np.ndarray:
    """A real micrograph mirrored on until it is (side_px, side_px) uint8."""
    plane = sample_image("superalloy")
    return np.pad(plane, [(0, max(0, side_px - n)) for n in plane.shape], mode="symmetric")[:side_px, :side_px]


def methods(generator: Generator, image: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Each returns the answer on the unit scale for the whole picture."""
    from monai.inferers import sliding_window_inference

    intensity = Intensity.measure(image)
    unit = intensity.to_unit(image)
    tile_px = choose_tile_px(generator.device)

    def tiles() -> np.ndarray:
        return predict_plane(generator, unit, intensity=Intensity(0.0, 1.0))[0]

    def untiled() -> np.ndarray:
        return run(generator, unit)[0].cpu().numpy()

    def bare() -> np.ndarray:
        answer = np.empty_like(unit)

        def work(tile: Tile) -> None:
            answer[tile.inner] = run(generator, unit[tile.inner])[0].cpu().numpy()

        list(each_tile(work, plan_tiles(unit.shape, tile_px, 0, 8), generator.device))
        return answer

    def monai() -> np.ndarray:
        x = torch.from_numpy(unit)[None, None].to(generator.device)
        with torch.inference_mode():
            return (
                sliding_window_inference(x, 256, 1, generator.network, overlap=0.25, mode="gaussian")[0, 0]
                .cpu()
                .numpy()
            )

    return {"tiles": tiles, "untiled": untiled, "bare tiles": bare, "monai": monai}


def throughput(generator: Generator, image: np.ndarray, rounds: int) -> tuple[dict[str, float], float]:
    """Median megapixels per second of each method, and the largest difference of tiles to untiled."""
    calls = methods(generator, image)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    answers = {name: call() for name, call in calls.items()}  # warm-up
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    speed = {name: image.size / 1e6 / float(np.median(s)) for name, s in seconds.items()}
    difference = answers["tiles"] - answers["untiled"]
    return speed, float(np.abs(difference - np.median(difference)).max() / np.ptp(answers["untiled"]))


def zero_shot(image: np.ndarray, device: str) -> dict[str, float]:
    """Seconds of each embedded restoration for the whole picture; super-resolutions for one with as many pixels in the end."""
    seconds = {}
    for card in nf.models():
        if card.task == "segment":
            continue
        generator = nf.load(card.name, device)
        given = image[: image.shape[0] // generator.card.factor, : image.shape[1] // generator.card.factor]
        nf.predict(generator, given[:256, :256])  # warm-up
        began = time.perf_counter()
        nf.predict(generator, given)
        seconds[card.name] = time.perf_counter() - began
    return seconds


def peak_bytes(model: str, side_px: int) -> int:
    """Peak resident memory of a fresh process that restores one picture as a user asks for it, beyond its input and output."""
    code = f"import benchmarks.tiles as t; t.report_peak({model!r}, {side_px})"
    root = Path(__file__).parent.parent
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return int(out.stdout)


def report_peak(model: str, side_px: int) -> None:
    image = picture(side_px)
    answer = nf.predict(nf.load(model), image)
    # VmHWM, since ru_maxrss counts the parent's memory before exec
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) * 1024 - image.nbytes - answer.nbytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = Generator.from_file(Shelf().read(MODEL), args.device)
    speed, difference = throughput(generator, picture(args.side), args.rounds)
    ratio = {name: speed["tiles"] / s for name, s in speed.items()}
    seconds = zero_shot(picture(args.side), args.device)
    sides = (args.side, 2 * args.side, 4 * args.side)
    memory = {model: {side: peak_bytes(model, side) for side in sides} for model in IN_MEMORY}
    result = {
        "threads": args.threads,
        "side_px": args.side,
        "mpx_per_s": speed,
        "ratio": ratio,
        "difference": difference,
        "peak_bytes": memory,
        "zero_shot_s": seconds,
    }
    print(f"{MODEL}, {args.side} px, {args.threads} threads, {args.device}")
    for name in speed:
        print(f"{name:12} {speed[name]:6.2f} Mpx/s   tiles are {ratio[name]:.2f} times as fast")
    print(f"largest difference to untiled: {difference:.1e} of the range")
    for model, sizes in memory.items():
        told = ", ".join(f"{size / 2**20:.0f} MiB at {side} px" for side, size in sizes.items())
        print(f"{model}, peak memory beyond input and output: {told}")
    for name, s in seconds.items():
        print(f"{name}, the whole picture: {s:.1f} s")
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
