"""The widgets napari shows. They lay out, read the form, call and show; what happens is in the files above this folder."""

from napari_fewshot.ui.docks.fewshot import FewshotDock

__all__ = ["FewshotDock"]
