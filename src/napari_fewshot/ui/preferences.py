"""The user's preferences, from napari's settings where it knows them (napari >= 0.9), else the manifest's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PLUGIN = "napari-fewshot"


@dataclass(frozen=True)
class Preferences:
    """What napari's Preferences show under napari-fewshot."""

    device: str = "auto"
    seconds: int = 60
    seed: int = 0
    confidence: bool = False


def read_preferences() -> Preferences:
    """Read them now; a dock takes them when it opens."""
    try:
        from napari.settings import get_plugin_settings

        settings: Any = get_plugin_settings(PLUGIN)
        return Preferences(
            device=settings.compute.device,
            seconds=settings.fine_tune.seconds,
            seed=settings.fine_tune.seed,
            confidence=settings.results.confidence,
        )
    except (ImportError, KeyError, AttributeError):
        return Preferences()
