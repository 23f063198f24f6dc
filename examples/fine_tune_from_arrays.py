"""Fine-tune a segmentation on a few painted pixels and apply it to a whole stack, from plain arrays.

python examples/fine_tune_from_arrays.py [SECONDS]
"""

import sys

import numpy as np

import napari_fewshot as nf
from napari_fewshot import samples
from napari_fewshot.core.scores import mean_iou
from napari_fewshot.core.simulate import simulate_strokes

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0

stack = samples.image("medulla")  # (15, 250, 250) uint8
truth = samples.truth("medulla")

# Paint as a user would: 0 = not painted, 1 = cell interior, 2 = boundary. Only the first plane gets strokes.
painted = np.zeros(stack.shape, np.uint16)
painted[0] = simulate_strokes(truth[0], n_per_class=6)

generator = nf.load("em-segment")
tuned = nf.fine_tune(generator, stack, painted, seconds=seconds, seed=0)

classes, uncertainty = nf.predict(tuned, stack, uncertainty=True)
print(f"{tuned.card.steps} steps, {tuned.card.n_painted_px} painted pixels")
print(f"mean IoU on the planes without strokes: {mean_iou(classes[1:], truth[1:]):.3f}")
print(f"mean uncertainty: {uncertainty.mean():.3f}")
