"""What is said of strokes that a job cannot learn from. Knows no widget and no worker."""

from __future__ import annotations

from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.painted import PaintedPlanes
from napari_fewshot.ui.work import Work


def note_left_out(bridge: Bridge, work: Work, painted: PaintedPlanes | None) -> None:
    """Note at a job, once it has taken its strokes, on which planes they are left out."""
    if painted is None:
        return

    def note(sentence: str | None, error: Exception | None) -> None:
        if sentence and work.is_running and sentence not in work.notes:
            work.note(sentence)

    bridge.call(lambda: painted.left_out, note)  # after the job was made, as the bridge keeps the order of calls
