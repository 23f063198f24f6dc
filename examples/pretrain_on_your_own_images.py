"""Pretrain generators on a folder of your own unlabelled micrographs, then use them like the embedded ones.

python examples/pretrain_on_your_own_images.py [FOLDER] [OUT] [STEPS]
"""

import sys
from pathlib import Path

import napari_fewshot as nf
from napari_fewshot import samples
from napari_fewshot.cli_pretrain import pretrain

# TIFF, OME-Zarr, PNG, JPEG, dm3/dm4, mrc, emd or ser. The shipped samples show how it goes, but are too few to learn from.
folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(samples.__file__).parent)
out = Path(sys.argv[2] if len(sys.argv) > 2 else "own-weights")
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 200  # thousands are where it begins to pay

# The same as the command `napari-fewshot pretrain --data FOLDER --out OUT ...`. Ctrl-C ends early and keeps what was
# learned; `resume=out` with another `out` goes on. Without `adversarial=0` it is the paper's GAN, and slower.
pretrain(
    data=[folder],
    out=out,
    leave_out="truth",
    pretexts="restore:1,inpaint:0.5,episodic:1,contrast:0.1",
    adversarial=0,
    widths=[8, 16, 32],
    steps=steps,
)

denoiser = nf.load(out / "em-denoise")
print(f"{denoiser.card.name} of {denoiser.card.steps} steps: {nf.predict(denoiser, samples.image('catalyst')).shape}")
print(f"segment with: nf.fine_tune(nf.load({str(out / 'em-segment')!r}), image, painted)")
