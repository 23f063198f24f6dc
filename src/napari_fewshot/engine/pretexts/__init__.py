"""What a generator is pretrained with. A new pretext is one file here and one line in ``PRETEXTS``."""

from collections.abc import Callable

from napari_fewshot.engine.pretexts.contrast import Contrast
from napari_fewshot.engine.pretexts.episodic import Episodic
from napari_fewshot.engine.pretexts.hybrid import Hybrid
from napari_fewshot.engine.pretexts.inpaint import Inpaint
from napari_fewshot.engine.pretexts.pretext import Pretext
from napari_fewshot.engine.pretexts.restore import Restore

PRETEXTS: dict[str, Callable[[str], Pretext]] = {p.name: p for p in (Restore, Inpaint, Episodic, Hybrid, Contrast)}
