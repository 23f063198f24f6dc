"""What pretraining brings a network that is fine-tuned whole, after 5, 30 and 60 epochs: the shape of tables 2 and 3 of the paper.

    python benchmarks/pretraining.py DATA [--steps 300] [--epochs 5 30 60] [--seeds 3] [--images 4] [--crops 8] [--crop-px 192]
        [--side 512] [--sets NAME ...] [--nets NAME ...] [--restoration-net HRNet] [--adversarial 0] [--pretexts restore:1,episodic:1]
        [--embedded em-denoise] [--only segmentation] [--work FOLDER] [--out pretraining.json] [--table docs/pretraining-results.md] [--plots docs]

DATA holds segmentation/<set>/{images,labels}/*.tif, restoration/<set>/{noisy|lr}, {clean|clean_nobg|hr}/*.tif and pretrain/*.tif. As in
arXiv 2402.18286 every weight is trained: Adam at 2e-4, flips and rotations; cross-entropy for segmentation, L1 + L2 for restoration. Pretraining
is --pretexts for segmentation (label maps of episodes are those of other sets) and "restore" for restoration (with its discriminator under
--adversarial 1), on images that show none of the specimens scored here. For segmentation the new layer begins as the product's head does, solved by ridge
regression on pixels of the training images, for random weights as for pretrained ones; "0 epochs" is that. --embedded begins with the backbone of a model that ships, too, where the network
is the same: it has learned far longer, and has seen other images of these specimens, without labels. An epoch is --crops crops of --crop-px of each of --images images; what is
scored are up to eight other images of the set. Segmentation: mean Dice of the classes but the background. Restoration: L1, PSNR in dB and
SSIM of grey levels 0..1, for backgrounds after the least-squares gain and offset. Numbers are means over sets, ± one standard deviation over seeds. Trained weights and finished runs are kept in --work and not
made again. Needs scikit-image and matplotlib beside the package.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import torch.nn.functional as F
from command import arguments, parsed, settings, write
from peers import spread
from runs import RANDOM, Row, Run, kept, plot, segmenter, set_names, table, weights
from skimage.metrics import structural_similarity
from torch import Tensor, nn

import napari_fewshot as nf
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.scores import psnr
from napari_fewshot.core.shelf import read_model
from napari_fewshot.engine.device import choose_device, place
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.heads.regress import regress
from napari_fewshot.engine.patches import turned
from napari_fewshot.engine.predict import predict_plane

NETS: dict[str, dict[str, Any]] = {
    "U-Net 2 blocks, RF 44": {"name": "receptive-unet", "receptive_px": 44},
    "U-Net 3 blocks, RF 176": {"name": "receptive-unet", "receptive_px": 176},
    "U-Net 4 blocks, RF 200": {"name": "receptive-unet", "receptive_px": 200},
    "U-Net 4 blocks, RF 424": {"name": "receptive-unet", "receptive_px": 424},
    "HRNet": {"name": "hrnet", "widths": [16, 32, 64]},
    "residual U-Net": {"name": "residual-unet", "widths": [16, 32, 64, 128]},
}
SETS = ["hrtem_particles_sim", "sem_axon_myelin", "sem_superalloy"]
PAIRS = {  # title -> model, factor, folder, inputs, targets
    "denoising": ("em-denoise", 1, "haadf_sim", "noisy", "clean"),
    "noise and background": ("em-background", 1, "haadf_sim", "noisy", "clean_nobg"),
    "super-resolution x2": ("em-superres-x2", 2, "sem_superres_x2", "lr", "hr"),
}
SHOWN_IN_PAIRS = ("sem_superalloy", "sem_ebc_oxide", "sem_nanocomposite", "hrtem_particles_sim")  # left out, too
RATE, BATCH, N_TESTED = 2e-4, 4, 8
PIXELS_AN_IMAGE, RIDGE, WARMTH = 4000, 1e-3, 8.0  # of the closed-form beginning; one-hot targets as logits

Rng = np.random.Generator


Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Pairs:
    """Inputs (Y, X) with their targets (Y * factor, X * factor), to be trained on and to be tested on."""

    train: list[Pair]
    test: list[Pair]
    factor: int = 1


class Segmenter(nn.Module):
    """A backbone with one new layer for K classes that looks at the features of all levels, brought to full resolution."""

    def __init__(self, backbone: Any, n_classes: int) -> None:
        super().__init__()
        self.backbone, self.n_classes = backbone, n_classes
        self.out = nn.ModuleList(nn.Conv2d(width, n_classes, 1) for width in backbone.widths)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        align = self.backbone.align_px
        x = F.pad(x, (0, -w % align, 0, -h % align), mode="replicate")
        parts = [enlarged(out(m), x) for out, m in zip(self.out, self.backbone(x), strict=True)]
        return torch.stack(parts).sum(0)[..., :h, :w]

    @torch.no_grad()
    def begin(self, pairs: list[Pair], rng: Rng) -> None:
        """Solve the new layer by ridge regression on some pixels of each image, as the product does with strokes."""
        device, x, y = next(self.parameters()).device, [], []
        for given, wanted in pairs:
            h, w = (n // self.backbone.align_px * self.backbone.align_px for n in given.shape)
            unit = torch.from_numpy(given[None, None, :h, :w]).to(device)
            maps = torch.cat([enlarged(m, unit) for m in self.backbone(unit)], 1)[0]  # (D, Y, X)
            at = torch.from_numpy(rng.integers((h, w), size=(PIXELS_AN_IMAGE, 2))).to(device)
            x.append(maps[:, at[:, 0], at[:, 1]].T)
            y.append(torch.from_numpy(wanted).to(device)[at[:, 0], at[:, 1]])
        target = F.one_hot(torch.cat(y), self.n_classes).float()
        share = torch.full_like(target[:, :1], 1 / len(target))
        weight, bias = regress(torch.cat(x), target, share, share.new_tensor(RIDGE))
        for out, part in zip(self.out, torch.split(weight, list(self.backbone.widths), 1), strict=True):
            assert isinstance(out, nn.Conv2d) and out.bias is not None
            out.weight.copy_(WARMTH * part[:, :, None, None])
            out.bias.copy_(WARMTH * bias / len(self.out))


def enlarged(maps: Tensor, x: Tensor) -> Tensor:
    """(B, C, y, x) of any level at the resolution of the input."""
    return maps if maps.shape[-2:] == x.shape[-2:] else F.interpolate(maps, size=x.shape[-2:], mode="bilinear")


def fine_tuned(
    module: nn.Module, pairs: Pairs, loss: Callable[[Tensor, Tensor], Tensor], seed: int, args: argparse.Namespace
) -> Iterator[int]:
    """Train all weights on random crops; yields the number of epochs whenever the module is to be scored."""
    rng, optimizer = np.random.default_rng(seed), torch.optim.Adam(module.parameters(), lr=RATE)
    device = next(module.parameters()).device
    for epoch in range(1, max(args.epochs) + 1):
        order = rng.permutation(np.repeat(np.arange(len(pairs.train)), args.crops))
        for at in range(0, len(order), BATCH):
            chosen = [pairs.train[i] for i in order[at : at + BATCH]]
            crops = [cut(given, wanted, pairs.factor, args.crop_px, rng) for given, wanted in chosen]
            given, wanted = (torch.from_numpy(np.stack(c)[:, None]).to(device) for c in zip(*crops, strict=True))
            optimizer.zero_grad(set_to_none=True)
            loss(module(given.to(memory_format=torch.channels_last)), wanted).backward()
            optimizer.step()
        if epoch in args.epochs:
            yield epoch


def cut(given: np.ndarray, wanted: np.ndarray, factor: int, crop_px: int, rng: Rng) -> Pair:
    """The same square of an input and of its target, turned alike."""
    px = min(crop_px, *(n // 16 * 16 for n in given.shape))
    y, x = (int(rng.integers(n - px + 1)) for n in given.shape)
    fine = wanted[factor * y : factor * (y + px), factor * x : factor * (x + px)]
    state = int(rng.integers(2**31))
    return turned(given[y : y + px, x : x + px], np.random.default_rng(state)), turned(
        fine, np.random.default_rng(state)
    )


def split(inputs: Path, targets: Path, n_train: int) -> tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]]:
    """The first ``n_train`` images to train on, up to eight of the others to test on, with their targets."""
    files = sorted(inputs.glob("*.tif"))
    n_train = min(n_train, len(files) // 2)
    train, test = (
        [(f, targets / f.name) for f in part] for part in (files[:n_train], spread(files[n_train:], N_TESTED))
    )
    return train, test


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the classes of the truth but the background."""
    scores = [
        2 * np.sum((found == k) & (truth == k)) / (np.sum(found == k) + np.sum(truth == k)) for k in np.unique(truth[truth > 0])
    ]  # fmt: skip
    return float(np.mean(scores)) if scores else float(np.all(found == 0))


def segmentation(args: argparse.Namespace, hidden: tuple[str, ...]) -> Iterator[Row]:
    def read(image: Path, labels: Path) -> Pair:
        plane = tifffile.imread(image)[: args.side, : args.side]
        return Intensity.measure(plane).to_unit(plane), tifffile.imread(labels)[: args.side, : args.side].astype(
            np.int64
        )

    for name in set_names(args.data, args.sets):
        folder = args.data / "segmentation" / name
        train, test = split(folder / "images", folder / "labels", args.images)
        pairs = Pairs([read(*f) for f in train], [read(*f) for f in test])
        n_classes = 1 + max(int(t.max()) for _, t in pairs.train + pairs.test)
        for net in args.nets:
            for seed in range(args.seeds):
                for begin, made in beginnings(NETS[net], seed, hidden, args):
                    what = {"set": name, "net": net, "begin": begin, "seed": seed}
                    yield from kept(args.work, what, at_scale(args), dices(made, pairs, n_classes, seed, args))
                print(name, net, "seed", seed, "done", flush=True)


def dices(
    made: Callable[[], Generator], pairs: Pairs, n_classes: int, seed: int, args: argparse.Namespace
) -> Iterator[Row]:
    """Dice after each of --epochs, begun with the backbone of what is ``made``."""
    generator = made()
    torch.manual_seed(seed)  # the same new layer for both beginnings
    module = place(Segmenter(generator.network.backbone, n_classes), args.device)
    module.begin(pairs.train, np.random.default_rng(seed))
    trained = fine_tuned(module, pairs, lambda x, y: F.cross_entropy(x, y[:, 0]), seed, args)
    for epoch in itertools.chain([0], trained):
        scores = [dice(classes(module, x, args.device), y) for x, y in pairs.test]
        n_parameters = sum(p.numel() for p in module.backbone.parameters())
        yield {"epochs": epoch, "Dice": float(np.mean(scores)), "parameters": n_parameters}


def at_scale(args: argparse.Namespace) -> tuple[Any, ...]:
    return args.steps, args.epochs, args.images, args.crops, args.crop_px, args.side, args.adversarial, args.pretexts


@torch.inference_mode()
def classes(module: nn.Module, unit: np.ndarray, device: str) -> np.ndarray:
    return module(torch.from_numpy(unit[None, None]).to(device)).argmax(1)[0].cpu().numpy()


def beginnings(
    net: dict[str, Any], seed: int, hidden: tuple[str, ...], args: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Generator]]]:
    def after(pretexts: str) -> Generator:
        run = Run(pretexts, args.steps, seed, hidden, net)
        return segmenter(weights(run, args.data, args.work, args.device, args.adversarial))

    yield "random", partial(after, RANDOM)
    yield "pretrained", partial(after, args.pretexts)
    if args.embedded and nf.load(args.embedded).card.net == net:
        yield args.embedded, partial(nf.load, args.embedded)


def restoration(args: argparse.Namespace, hidden: tuple[str, ...]) -> Iterator[Row]:
    net = NETS[args.restoration_net]
    for title, (model, factor, name, inputs, targets) in PAIRS.items():
        folder = args.data / "restoration" / name
        train, test = split(folder / inputs, folder / targets, args.images)
        pairs = Pairs([unit_pair(*grey(*f)) for f in train], [grey(*f) for f in test], factor)
        for seed in range(args.seeds):
            for begin, steps in (("random", 0), ("pretrained", args.steps)):
                run, what = Run("restore", steps, seed, hidden, net), {"task": title, "begin": begin, "seed": seed}
                yield from kept(args.work, what, at_scale(args), errors(run, model, pairs, seed, args))
            print(title, "seed", seed, "done", flush=True)


def errors(run: Run, model: str, pairs: Pairs, seed: int, args: argparse.Namespace) -> Iterator[Row]:
    """L1, PSNR and SSIM after each of --epochs, begun with the weights of ``run``."""
    made = weights(run, args.data, args.work, args.device, args.adversarial)
    generator = Generator.from_file(read_model(made / model), args.device)
    for epoch in fine_tuned(generator.network.train(), pairs, l1_and_l2, seed, args):
        found = [restored(generator, x, y) for x, y in pairs.test]
        yield {"epochs": epoch} | {k: float(np.mean([f[k] for f in found])) for k in found[0]}


def l1_and_l2(x: Tensor, y: Tensor) -> Tensor:
    return F.l1_loss(x, y) + F.mse_loss(x, y)


def grey(noisy: Path, clean: Path) -> Pair:
    """Both as grey levels 0 .. 1."""
    given, wanted = (tifffile.imread(f).astype(np.float32) / 255 for f in (noisy, clean))
    return given, wanted


def unit_pair(given: np.ndarray, wanted: np.ndarray) -> Pair:
    """Both on the unit scale of the input, which is all that can be measured at work."""
    scale = Intensity.measure(given)
    return scale.to_unit(given), ((wanted - scale.low) / scale.span).astype(np.float32)


def restored(generator: Generator, given: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Errors on grey levels 0 .. 1; without a background the level is arbitrary, so gain and offset are fitted."""
    answer, _ = predict_plane(generator, given)
    if generator.card.task == "remove_background":
        answer = np.polyval(np.polyfit(answer.ravel(), wanted.ravel(), 1), answer)
    answer = np.clip(answer, 0, 1)
    similar = float(structural_similarity(wanted, answer, data_range=1.0))
    return {"L1": float(np.abs(answer - wanted).mean()), "PSNR": psnr(answer, wanted), "SSIM": similar}


def report(segmented: list[Row], repaired: list[Row], args: argparse.Namespace) -> str:
    scale = f"{args.steps} steps of pretraining; {args.crops} crops of {args.crop_px} px of each of {args.images} images an epoch; {args.seeds} seeds"
    sets = ", ".join(dict.fromkeys(r["set"] for r in segmented) or PAIRS)
    parts = [f"Scale: {scale}; {sets}."]
    if segmented:
        parts += ["Dice by epochs of fine-tuning", table(segmented, ["net", "parameters", "begin"], "epochs", "Dice")]
        parts += ["Each set", table(segmented, ["set", "net", "begin"], "epochs", "Dice")]
    for value, digits in (("L1", 4), ("PSNR", 2), ("SSIM", 3)) if repaired else ():
        parts += [
            f"{value} of {args.restoration_net} by epochs",
            table(repaired, ["task", "begin"], "epochs", value, digits),
        ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def main() -> None:
    parser = arguments(__doc__, "work", "out", "table", "plots")
    parser.add_argument("--pretexts", default="restore:1,episodic:1")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 30, 60])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--crop-px", type=int, default=192)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--restoration-net", default="HRNet", choices=list(NETS))
    parser.add_argument("--adversarial", type=float, default=0.0)
    parser.add_argument("--embedded")
    parser.add_argument("--only", choices=["segmentation", "restoration"])
    parser.add_argument("--device", default="auto")
    args = parsed(parser)
    args.work, args.device = args.work or Path(tempfile.mkdtemp()), choose_device(args.device)
    args.work.mkdir(parents=True, exist_ok=True)
    hidden = tuple(sorted({*args.sets, *SHOWN_IN_PAIRS}))
    segmented = list(segmentation(args, hidden)) if args.only != "restoration" else []
    repaired = list(restoration(args, hidden)) if args.only != "segmentation" else []
    text = report(segmented, repaired, args)
    results = {"scale": settings(args), "segmentation": segmented, "restoration": repaired}
    write(results, text, args.out, args.table)
    if args.plots and segmented:
        lines = [{**r, "line": f"{r['net']}, {r['begin']}"} for r in segmented]
        plot(args.plots / "pretraining-dice.png", lines, "epochs", "Dice", "line")
    if args.plots and repaired:
        lines = [{**r, "line": f"{r['task']}, {r['begin']}"} for r in repaired]
        plot(args.plots / "pretraining-l1.png", lines, "epochs", "L1", "line")


if __name__ == "__main__":
    main()
