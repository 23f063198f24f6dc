"""Denoise a stack, then let the model adapt to it without any clean image and denoise again.

python examples/denoise_stack.py [RESULT.tif] [SECONDS]
"""

import sys

import tifffile

import napari_fewshot as nf
from napari_fewshot import samples
from napari_fewshot.compute.events import Progress

result = sys.argv[1] if len(sys.argv) > 1 else "denoised.tif"
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0


def show(event):
    """Print how far a long call is."""
    if isinstance(event, Progress):
        print(f"{event.done}/{event.total or '?'} after {event.seconds:.1f} s", end="\r")


stack = samples.image("medulla")[:5]
generator = nf.load("em-denoise")
denoised = nf.predict(generator, stack, on_event=show)

adapted = nf.fine_tune(generator, stack, None, seconds=seconds, seed=0)  # no targets: from the noisy images alone
again = nf.predict(adapted, stack, on_event=show)

tifffile.imwrite(result, again, photometric="minisblack", compression="zlib")
for name, images in {"input": stack, "denoised": denoised, "adapted and denoised": again}.items():
    print(f"{name:22} {images.dtype} {images.shape}, mean {images.mean():.1f}, std {images.std():.1f}")
