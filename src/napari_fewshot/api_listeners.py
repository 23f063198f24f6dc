"""Listeners of the public functions: what is heard becomes events."""

from __future__ import annotations

from collections.abc import Callable

from napari_fewshot.compute.events import Event, Note, Progress
from napari_fewshot.engine.listen import Listener, Silent

OnEvent = Callable[[Event], None]


class OnlyNotes(Silent):
    """Hands on what is said, not how far each plane is."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def note(self, message: str) -> None:
        self._listener.note(message)


class Teller(Silent):
    """A listener that turns what it hears into events with an empty job id."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event

    def progress(
        self,
        done: int,
        total: int | None,
        seconds: float,
        seconds_left: float | None,
        losses: dict[str, float],
        score: float | None,
    ) -> None:
        self.on_event(Progress("", done, total, seconds, seconds_left, losses, score))

    def note(self, message: str) -> None:
        self.on_event(Note("", message))
