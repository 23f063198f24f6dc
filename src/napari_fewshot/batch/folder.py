"""Applies a model to a file or a folder of files, plane by plane; can be stopped and taken up again.

Does not know who predicts: a plane goes through any callable, here or on a worker.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from napari_fewshot.batch.answers import Answer, Beside, without_gaps
from napari_fewshot.batch.formats import format_of, open_picture, unreadable, writable_format
from napari_fewshot.batch.formats.format import Opened
from napari_fewshot.batch.results import (
    AlreadyThere,
    NameTooLong,
    cannot_write,
    check_result,
    part_of,
    put_in_place,
    remove,
)
from napari_fewshot.batch.sidecar import Provenance, is_made_otherwise, uncertainty_of
from napari_fewshot.compute.events import Event, Note, Progress
from napari_fewshot.core import restoring
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ComputeError, ModelError, PictureError, StorageError
from napari_fewshot.core.joiner import Joiner
from napari_fewshot.core.measures import Grid

logger = logging.getLogger(__name__)
PredictPlane = Callable[[np.ndarray], np.ndarray | Answer]


class Belongs(Exception):
    """A file is a part of a picture that is worked on under the name of another file."""

    def __init__(self, source: Path, first: Path) -> None:
        super().__init__(f"{source.name} belongs to {first.name} and is done with it")


class Stop(Exception):
    """Raised between planes when the user wants to stop."""


@dataclass(frozen=True)
class Step:
    """One file to work on and the result it leads to."""

    source: Path
    result: Path


@dataclass(frozen=True, eq=False)
class PlaneWork:
    """How planes are worked on.

    Parameters
    ----------
    predict : callable
        (Y, X) -> (Y * factor, X * factor), or an `Answer` with more; an uncertainty goes into a second file.
    card : ModelCard
        Of the model behind ``predict``; its factor scales the pixel size.
    stopped : callable
        Looked at before every plane.
    on_event : callable
        Gets `Progress` (in files) and `Note`.
    parameters : dict
        Goes into the sidecar.
    on_report : callable
        Gets the name of a plane and the `Report` of its restoration.
    are_objects : bool
        ``predict`` answers outlines 1 .. n of each plane alone: they are joined along Z, and a table of what they measure
        goes beside the result.
    """

    predict: PredictPlane
    card: ModelCard
    stopped: Callable[[], bool] = lambda: False
    on_event: Callable[[Event], None] = lambda event: None
    parameters: dict[str, Any] = field(default_factory=dict)
    are_objects: bool = False
    on_report: Callable[[str, restoring.Report], None] = lambda plane, report: None


@dataclass(frozen=True)
class Report:
    """What became of the files: written, skipped because their result was there, failed with the reason.

    Further files of a picture in several files are in none of them.
    """

    written: tuple[Path, ...] = ()
    skipped: tuple[Path, ...] = ()
    failed: tuple[tuple[Path, str], ...] = ()
    was_stopped: bool = False


def plan_folder(source: Path, target: Path, suffix: str = ".tif") -> list[Step]:
    """List the pictures of a folder, by name, with the result each leads to; reads and writes nothing.

    Raises
    ------
    PictureError
        Not a folder, or no picture in it.
    StorageError
        ``target`` is the source folder itself or a file, or results cannot have that suffix.
    """
    if not source.is_dir():
        raise PictureError(f"{source} is not a folder: check the name")
    if target.resolve() == source.resolve():
        raise StorageError(f"the results cannot go where the pictures are ({source}): choose another folder")
    if format_of(target) is not None and not target.is_dir():
        raise StorageError(
            f"the results of a folder go into a folder, not into a file ({target}): leave out {target.suffix}"
        )
    writable_format(Path(f"result{suffix}"))
    sources = sorted(p for p in source.iterdir() if format_of(p) is not None and not p.name.startswith("."))
    if not sources:
        raise PictureError(
            f"there is no picture in {source} itself: choose a folder with TIFF, OME-Zarr, EM, PNG or JPEG files"
        )
    stems = [_stem(p).casefold() for p in sources]  # as Windows and macOS tell names apart
    names = {p.name.casefold() for p in sources}
    steps = []
    for path, stem in zip(sources, stems, strict=True):
        is_alone = stems.count(stem) == 1 and stem not in names
        name = (
            _stem(path) if is_alone else path.name
        )  # a.tif and a.png must not share a result, nor a.png and a.png.tif
        steps.append(Step(path, target / f"{name}{suffix}"))
    return steps


def apply_to_folder(steps: list[Step], work: PlaneWork) -> Report:
    """Work off a plan: results that are there stay, a file that cannot be used is named and passed over.

    Raises
    ------
    StorageError
        A result cannot be written: the others could not be either.
    ModelError
        The model cannot be applied.
    """
    report, started = Report(), time.monotonic()
    others = [s.result for s in steps if is_made_otherwise(s.result, work.card, work.parameters)]
    if others:
        work.on_event(
            Note("", f"{len(others)} results of another model or strength are there and stay: choose another folder")
        )
    sources = {step.source.resolve() for step in steps}
    for done, step in enumerate(steps):
        try:
            report = _work_off(step, work, report, sources)
        except Stop:
            return replace(report, was_stopped=True)
        seconds = time.monotonic() - started
        left = seconds / (done + 1) * (len(steps) - done - 1)
        work.on_event(Progress("", done + 1, len(steps), seconds, left))
    return report


def apply_to_file(source: Path, result: Path, work: PlaneWork, others: Set[Path] = frozenset()) -> Path:
    """Write the result of one file and its sidecar; the result appears under its name when it is complete.

    ``others`` are files that are worked on too, as `Path.resolve` gives them.

    Raises
    ------
    PictureError
        The file cannot be read or is too small.
    AlreadyThere
        The result exists, also when another run made it meanwhile.
    NameTooLong
        The disk takes no such name.
    StorageError
        The result cannot be written.
    Belongs
        The picture begins in one of the others.
    Stop
        The user stopped it; nothing is left behind.
    """
    check_result(result)
    write = writable_format(result).write
    assert write is not None
    started = time.monotonic()
    part = part_of(result)
    with open_picture(source) as opened:
        if opened.begins_in is not None and opened.begins_in.resolve() in others:
            raise Belongs(source, opened.begins_in)
        opened.picture.check_size()
        if opened.remark:
            work.on_event(Note("", f"{source.name}: {opened.remark}"))
        joiner = Joiner(opened.picture) if work.are_objects else None
        beside = Beside(result.parent)
        planes = without_gaps(_predicted(source, opened, work, joiner, beside), source)
        unsure = None
        try:
            first = next(planes, None)
            if first is None:
                raise PictureError(f"{source} has no plane (one of its axes is empty): choose another file")
            layout = opened.layout_of(first, work.card.factor)
            if beside.uncertainty:
                check_result(uncertainty_of(result))
                unsure = part_of(uncertainty_of(result))
            result.parent.mkdir(parents=True, exist_ok=True)
            write(part, chain([first], planes), layout)
            if unsure is not None:
                planes = without_gaps(beside.uncertainty.planes(), source)
                write(unsure, planes, replace(layout, dtype=np.dtype(np.float32)))
            if result.exists():
                raise AlreadyThere(result)
            table = None
            if joiner is not None:
                table = joiner.measures.table(_grid(opened, joiner.measures.is_stack))
            seconds = time.monotonic() - started
            made = Provenance.now(source, work.card, seconds, work.parameters, beside.numbers)
            put_in_place(part, result, made, table, unsure)
        except OSError as error:
            raise cannot_write(result, error) from error
        finally:
            beside.uncertainty.close()
            for one in (part, unsure):
                if one is not None:
                    remove(one)
        picture = replace(opened.picture, name=source.name)
        for index, report in beside.reports:
            work.on_report(picture.name_of(index), report)
    return result


def _work_off(step: Step, work: PlaneWork, report: Report, sources: Set[Path]) -> Report:
    if work.stopped():
        raise Stop
    if os.path.exists(step.result):
        return replace(report, skipped=(*report.skipped, step.source))
    try:
        apply_to_file(step.source, step.result, work, sources)
    except AlreadyThere:
        return replace(report, skipped=(*report.skipped, step.source))
    except Belongs as reason:
        work.on_event(Note("", str(reason)))
        return report
    except NameTooLong as error:
        return _left_out(step, work, report, str(error))
    except (ModelError, StorageError, Stop):
        raise  # they concern all files
    except (PictureError, ComputeError) as error:
        return _left_out(step, work, report, str(error))
    except Exception as error:  # an odd file makes numerics raise anything, and the others can be done
        logger.exception("%s is left out", step.source)
        return _left_out(step, work, report, f"{type(error).__name__}: {error}")
    return replace(report, written=(*report.written, step.result))


def _left_out(step: Step, work: PlaneWork, report: Report, why: str) -> Report:
    work.on_event(Note("", f"{step.source.name} left out: {why}"))
    return replace(report, failed=(*report.failed, (step.source, why)))


def _predicted(
    source: Path, opened: Opened, work: PlaneWork, joiner: Joiner | None, beside: Beside
) -> Iterator[np.ndarray | None]:
    """Answers for all planes; None for one without a finite pixel, as at the rim of an aligned stack."""
    for index in opened.picture.plane_indices():
        if work.stopped():
            raise Stop
        try:
            plane = opened.picture.take_plane(index)
        except Exception as error:  # a truncated file shows only when its planes are decoded
            raise unreadable(source, error) from error
        if plane.dtype.kind == "f" and not np.isfinite(plane).any():
            work.on_event(Note("", f"plane {index} of {source.name} has no finite pixel: it stays empty"))
            yield beside.take(index, None)
        else:
            values = beside.take(index, work.predict(plane))
            yield values if joiner is None or values is None else joiner.join(index, values, plane)


def _grid(opened: Opened, is_stack: bool) -> Grid:
    """The size of a pixel; pixels where it is not known along all axes of an object."""
    axes = "ZYX" if is_stack else "YX"
    if not opened.unit or not set(axes) <= opened.steps.keys():
        return Grid()
    z, y, x = (opened.steps[a] if a in axes else 1.0 for a in "ZYX")
    return Grid((z, y, x), opened.unit)


def _stem(path: Path) -> str:
    return path.name[: -len(path.suffix)].removesuffix(".ome")
