"""How the command line applies models: what is asked of which models, of which files, and what is told of each plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_fewshot.cli_speech import say, say_summary, show, show_note
from napari_fewshot.core.errors import ModelError, PictureError, memory_errors_told
from napari_fewshot.core.objects import SPLIT
from napari_fewshot.core.restoring import AS_TRAINED, Report, Restoring
from napari_fewshot.tasks import TASKS

if TYPE_CHECKING:
    from napari_fewshot.batch.answers import Answer
    from napari_fewshot.batch.folder import PlaneWork


@dataclass(frozen=True)
class Asked:
    """What `predict` is asked for; see there."""

    model: str
    restoring: Restoring = AS_TRAINED
    first: str | None = None
    objects_of: str | None = None
    split: float = SPLIT
    device: str = "auto"


def predict_files(asked: Asked, source: Path, result: Path, suffix: str) -> None:
    """Apply a model to a file, or to the files of a folder, and say what came of it.

    Raises
    ------
    PictureError
        A file cannot be used; the others of its folder are done.
    """
    from napari_fewshot.batch.folder import apply_to_file, apply_to_folder, plan_folder
    from napari_fewshot.batch.formats import format_of, open_picture

    reports: list[tuple[str, Report]] = []
    if not source.is_dir() or format_of(source) is not None:
        with open_picture(source):  # names a wrong file before the model is loaded
            pass
        apply_to_file(source, result, plane_work(asked, lambda *named: reports.append(named)))
        say(result)
        say_summary(reports)
        return
    steps = plan_folder(source, result, suffix)
    report = apply_to_folder(steps, plane_work(asked, lambda *named: reports.append(named)))
    print(f"{len(report.written)} written, {len(report.skipped)} there already, {len(report.failed)} left out")
    say_summary(reports)
    if report.failed:
        raise PictureError(f"left out, as told above: {', '.join(path.name for path, _ in report.failed)}")


def plane_work(asked: Asked, on_report: Callable[[str, Report], None]) -> PlaneWork:
    """Load the models, and tell how planes are worked on.

    Raises
    ------
    ModelError
        Unknown or unreadable, or a model that cannot do what is asked.
    """
    from napari_fewshot import api, api_arguments
    from napari_fewshot.api_listeners import OnlyNotes, Teller
    from napari_fewshot.batch.answers import Answer
    from napari_fewshot.batch.folder import PlaneWork
    from napari_fewshot.batch.sidecar import parameters_of
    from napari_fewshot.engine.objects import separate
    from napari_fewshot.engine.restoration import restore_plane

    generator = api.load(asked.model, asked.device)
    before = api.load(asked.first, asked.device) if asked.first else None
    objects = api_arguments.objects_of(generator.card, asked.objects_of, asked.split) if asked.objects_of else None
    if before is not None:
        api_arguments.check_first(before.card)
    is_segmentation = TASKS[generator.card.task].needs_strokes
    if is_segmentation and asked.restoring.uncertainty:
        raise ModelError(f"'{generator.card.name}' does not restore: leave out --uncertainty")
    api_arguments.check_strength(asked.restoring.strength, generator.card, before.card if before else None)
    if asked.split != SPLIT and objects is None:
        raise ModelError("--split cuts objects apart: say of which class with --objects-of, or leave it out")
    listener = OnlyNotes(Teller(show_note))

    @memory_errors_told()
    def answer(plane: np.ndarray) -> Answer:
        report = None
        if before is not None:
            wishes = asked.restoring if is_segmentation else AS_TRAINED
            restored = restore_plane(before, plane, wishes, listener=listener)
            plane, report = restored.values, restored.report
        if is_segmentation:
            values = np.asarray(api.predict(generator, plane, on_event=show_note))
            return Answer(values if objects is None else separate(values, objects), report)
        restored = restore_plane(generator, plane, asked.restoring, listener=listener)
        return Answer(restored.values, restored.report, restored.maps.get("uncertainty"))

    told = parameters_of(asked.restoring, before.card if before else None, objects)
    return PlaneWork(
        answer,
        generator.card,
        on_event=show,
        parameters={"device": generator.device, **told},
        are_objects=objects is not None,
        on_report=on_report,
    )
