"""What a user can ask for. A new task is one file here and one line in ``TASKS``."""

from napari_fewshot.tasks.denoise import DENOISE
from napari_fewshot.tasks.remove_background import REMOVE_BACKGROUND
from napari_fewshot.tasks.segment import SEGMENT
from napari_fewshot.tasks.super_resolve import SUPER_RESOLVE
from napari_fewshot.tasks.task import Task

TASKS: dict[str, Task] = {t.name: t for t in (SEGMENT, DENOISE, SUPER_RESOLVE, REMOVE_BACKGROUND)}

__all__ = ["TASKS", "Task"]
