"""What a generator is pretrained with. A new pretext is one file here and one line in ``PRETEXTS``."""

from napari_fewshot.engine.pretexts.episodic import Episodic
from napari_fewshot.engine.pretexts.restore import Restore

PRETEXTS = {"restore": Restore, "episodic": Episodic}
