"""A listener of the engine's trainings that remembers what it was told, and may say stop."""

from __future__ import annotations

from napari_fewshot.engine.listen import Silent


class Noting(Silent):
    """Stops after some steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.steps = 0
        self.notes: list[str] = []

    def stopped(self) -> bool:
        return self.stop_after is not None and self.steps >= self.stop_after

    def progress(
        self, done: int, total: int | None, seconds: float, seconds_left: float | None, losses: dict[str, float], score: float | None
    ) -> None:  # fmt: skip
        self.steps = done

    def note(self, message: str) -> None:
        self.notes.append(message)
