"""The demo: a viewer with the dock, or the same job without a display, written into a folder."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import zoom

from napari_fewshot import api, samples
from napari_fewshot.api_arguments import check_seed
from napari_fewshot.batch.folder import PlaneWork, apply_to_file
from napari_fewshot.batch.formats.format import Layout
from napari_fewshot.batch.formats.tiff import write_tiff
from napari_fewshot.core.errors import FewshotError
from napari_fewshot.core.intensity import Intensity
from napari_fewshot.core.scores import mean_iou, psnr
from napari_fewshot.core.shelf import CARD, WEIGHTS
from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.core.tiles import finer, middle_of
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.engine.generator import Generator

SAMPLE = "medulla"
PAINTED_PLANE, SHOWN_PLANE = 0, 1
STROKES_PER_CLASS = 6
SECONDS = 15.0
RESTORED_SAMPLE = "superalloy"
RESTORERS = {"em-denoise": "denoise", "em-superres-x2": "super_resolve", "em-background": "remove_background"}
RESTORED = [f"{task}-{what}.tif" for task in RESTORERS.values() for what in ("input", "result")]
RESULT = "stack-segmented.tif"
WRITTEN = ["stack.tif", "strokes.tif", RESULT, f"{RESULT}.json", *RESTORED, "figure.png", "scores.json"]
PANEL_PX = 256
DEMO_BYTES = 20_000_000  # that must be free for what it writes
COLOURS = np.array([[0, 0, 0], [86, 180, 233], [230, 159, 0], [0, 158, 115], [204, 121, 167]], np.uint8)


@dataclass(frozen=True, eq=False)
class Row:
    """One row of the figure; a caption of its scores and up to four (Y, X) or (Y, X, 3) panels."""

    caption: str
    panels: tuple[np.ndarray | None, ...]


def why_headless() -> str:
    """Why no viewer can open here; empty when one can."""
    if find_spec("napari") is None:
        return "napari is not installed: pip install 'napari-fewshot[all]'"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return ""


def open_viewer() -> None:
    """Open napari on a shipped micrograph with the dock, and run it."""
    import napari
    from napari.layers import Layer

    viewer = napari.Viewer(title="napari-fewshot demo")
    data, options, kind = samples.superalloy()[0]
    viewer.add_layer(Layer.create(data, options, kind))
    viewer.window.add_plugin_dock_widget("napari-fewshot", "Few-shot")
    napari.run()


def run_headless(out: Path, seed: int = 0) -> dict[str, float]:
    """Fine-tune on simulated strokes, apply to a stack, restore; write TIFFs, ``figure.png`` and ``scores.json``.

    Returns
    -------
    dict
        Every score that was printed: mean IoU (0 to 1) over planes without strokes, PSNR in dB, seconds.

    Raises
    ------
    FewshotError
        ``out`` holds other things than an earlier demo, or cannot be written.
    """
    from napari_fewshot.engine.checkpoint import check_room

    started = time.monotonic()
    check_seed(seed)
    check_room(out, DEMO_BYTES)
    _clear(out)
    scores: dict[str, float] = {}
    rows = [_segment(out, seed, scores)]
    rows += [_restore(name, out, seed, scores) for name in RESTORERS]
    _draw(rows).save(out / "figure.png")
    scores["seconds in all"] = round(time.monotonic() - started, 1)
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", "utf-8")
    for name, value in scores.items():
        print(f"{name:60} {value:8.3f}")
    print(f"results: {out.resolve()}")
    return scores


def _segment(out: Path, seed: int, scores: dict[str, float]) -> Row:
    stack, truth = samples.image(SAMPLE), samples.truth(SAMPLE)
    assert truth is not None
    strokes = simulate_strokes(truth[PAINTED_PLANE], STROKES_PER_CLASS, seed)
    tuned = api.fine_tune(api.load("em-segment", "auto"), stack[PAINTED_PLANE], strokes, seconds=SECONDS, seed=seed)
    tuned.save(out / "model")
    z, y, x = samples.SAMPLES[SAMPLE].pixel_nm
    layout = Layout("ZYX", stack.shape, stack.dtype, {"Z": z, "Y": y, "X": x}, "nm")
    write_tiff(out / "stack.tif", iter(stack), layout)
    _write(out / "strokes.tif", strokes)
    result = apply_to_file(out / "stack.tif", out / RESULT, _plane_work(tuned))
    classes = _read(result)
    others = [z for z in range(len(stack)) if z != PAINTED_PLANE]
    score = mean_iou(classes[others], truth[others])
    scores[f"segment {SAMPLE}: mean IoU on {len(others)} planes without strokes"] = score
    shown = stack[SHOWN_PLANE]
    return Row(
        f"segmentation: {STROKES_PER_CLASS} strokes a class on another plane, mean IoU {score:.2f}",
        (
            shown,
            _over(stack[PAINTED_PLANE], strokes),
            _over(shown, classes[SHOWN_PLANE]),
            _over(shown, truth[SHOWN_PLANE]),
        ),
    )


def _restore(model: str, out: Path, seed: int, scores: dict[str, float]) -> Row:
    task = TASKS[RESTORERS[model]]
    generator = api.load(model, "auto")
    factor = generator.card.factor
    picture = samples.image(RESTORED_SAMPLE)
    clean = Intensity.measure(picture).to_unit(picture)
    assert task.corrupt is not None
    spoilt, clean = task.corrupt(clean, factor, np.random.default_rng([seed, *model.encode()]))
    result = api.predict(generator, spoilt)
    plain = zoom(spoilt, factor, order=3, mode="nearest", grid_mode=True) if factor > 1 else spoilt
    _write(out / f"{task.name}-input.tif", spoilt)
    _write(out / f"{task.name}-result.tif", result)
    before, after = (_psnr_level_free(image, clean) for image in (plain, result))
    name = "cubic interpolation" if factor > 1 else "input"
    scores[f"{model} {RESTORED_SAMPLE}: PSNR of the {name}, dB"] = before
    scores[f"{model} {RESTORED_SAMPLE}: PSNR of the result, dB"] = after
    caption = f"{task.title.lower()} (simulated noise): PSNR {before:.1f} dB -> {after:.1f} dB"
    box = middle_of(spoilt.shape, PANEL_PX // factor)
    return Row(caption, (spoilt[box], None, result[finer(box, factor)], clean[finer(box, factor)]))


def _psnr_level_free(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR after the mean levels are made equal: where zero lies cannot be known once a background is removed."""
    return psnr(image - image.mean() + truth.mean(), truth)


def _plane_work(generator: Generator) -> PlaneWork:
    return PlaneWork(lambda plane: api.predict(generator, plane), generator.card)


def _write(path: Path, image: np.ndarray) -> None:
    write_tiff(path, iter([image]), Layout("YX", image.shape, image.dtype))


def _read(path: Path) -> np.ndarray:
    from napari_fewshot.batch.formats import open_picture

    with open_picture(path) as opened:
        return np.asarray(opened.picture.data)


def _clear(out: Path) -> None:
    """Remove what an earlier demo wrote; anything else stays and is a reason not to start."""
    model = out / "model"
    ours = {*(model / name for name in (CARD, WEIGHTS)), *(out / name for name in WRITTEN)}
    there = {*out.iterdir(), *(model.iterdir() if model.is_dir() else ())}
    there -= {model} if model.is_dir() else set()
    if foreign := sorted(path.relative_to(out).as_posix() for path in there - ours):
        raise FewshotError(f"{out} holds other files ({', '.join(foreign[:3])}): choose another folder with --out")
    for path in there:
        path.unlink()
    if model.is_dir():
        model.rmdir()


def _over(image: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The image in grey with its classes in colour, (Y, X, 3) uint8."""
    grey = _grey(image)[..., None].repeat(3, axis=-1)
    mixed = (0.45 * grey + 0.55 * COLOURS[np.minimum(classes, len(COLOURS) - 1)]).astype(np.uint8)
    return np.where(classes[..., None] > 0, mixed, grey)


def _grey(image: np.ndarray) -> np.ndarray:
    return (np.clip(Intensity.measure(image).to_unit(image), 0, 1) * 255).astype(np.uint8)


def _draw(rows: list[Row]) -> Image.Image:
    gap, text = 8, 20
    height = PANEL_PX + text + gap
    sheet = Image.new("RGB", (4 * (PANEL_PX + gap) + gap, len(rows) * height + text + gap), "white")
    pen = ImageDraw.Draw(sheet)
    for i, title in enumerate(("input", "strokes", "result", "truth")):
        pen.text((gap + i * (PANEL_PX + gap), 4), title, fill="black")
    for j, row in enumerate(rows):
        top = text + gap + j * height
        pen.text((gap, top), row.caption, fill="black")
        for i, panel in enumerate(row.panels):
            if panel is not None:
                picture = Image.fromarray(panel if panel.ndim == 3 else _grey(panel)).resize((PANEL_PX, PANEL_PX))
                sheet.paste(picture, (gap + i * (PANEL_PX + gap), top + text - 4))
    return sheet
