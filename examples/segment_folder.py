"""Fine-tune on one painted image and apply the model to a folder of files, without a display; run it again to go on.

python examples/segment_folder.py [FOLDER] [SECONDS]
"""

import sys
from pathlib import Path

import tifffile

import napari_fewshot as nf
from napari_fewshot import samples
from napari_fewshot.batch.folder import PlaneWork, apply_to_folder, plan_folder
from napari_fewshot.core.simulate import simulate_strokes

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "segment-folder")
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0

# Some files to work on; yours may be TIFF, OME-Zarr, dm3/dm4, mrc, emd, ser, PNG or JPEG.
(folder / "images").mkdir(parents=True, exist_ok=True)
for name in ("superalloy", "nanoparticles", "catalyst"):
    tifffile.imwrite(folder / "images" / f"{name}.tif", samples.image(name))

# Save the fine-tuned model once, and use it from then on.
if not (folder / "model").exists():
    painted = simulate_strokes(samples.truth("superalloy"), n_per_class=4)
    generator = nf.load("em-segment", "auto")
    nf.fine_tune(generator, samples.image("superalloy"), painted, seconds=seconds).save(folder / "model")
tuned = nf.load(folder / "model", "auto")

steps = plan_folder(folder / "images", folder / "classes")
report = apply_to_folder(steps, PlaneWork(lambda plane: nf.predict(tuned, plane), tuned.card))
print(f"{len(report.written)} written, {len(report.skipped)} there already, {len(report.failed)} left out")
