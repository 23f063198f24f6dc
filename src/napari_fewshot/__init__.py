"""Few-shot segmentation and restoration of micrographs. Importing it loads neither torch nor Qt nor napari."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_fewshot.core.errors import FewshotError

if TYPE_CHECKING:
    from napari_fewshot._version import __version__
    from napari_fewshot.api import fine_tune, load, models, objects, predict, suggest

__all__ = ["FewshotError", "__version__", "fine_tune", "load", "models", "objects", "predict", "suggest"]

_LAZY = {"fine_tune", "load", "models", "objects", "predict", "suggest"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module("napari_fewshot.api"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-fewshot")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
