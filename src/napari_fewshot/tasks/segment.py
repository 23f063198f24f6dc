"""Segmentation: every pixel gets one of the painted classes."""

from napari_fewshot.tasks.task import Task

SEGMENT = Task(
    name="segment",
    title="Segmentation",
    hint="Paint a few strokes of each class (background too); every pixel gets one of the painted classes.",
    answer="classes",
    models={"em-segment": 1},
    zooms=(1, 2, 4),
)
