"""A result on the disk: its name while it is made, and the moment it appears with its card and table. Knows no pictures."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from napari_fewshot.batch.sidecar import Provenance, sidecar_of, table_of, uncertainty_of, write_table
from napari_fewshot.core.errors import StorageError
from napari_fewshot.core.measures import Columns

PART_BYTES = 200  # of a name of at most 255


class AlreadyThere(StorageError):
    """A result is never made twice."""

    def __init__(self, result: Path) -> None:
        super().__init__(f"{result} exists already: choose another name")


class NameTooLong(StorageError):
    """The name of one result is longer than the disk allows."""

    def __init__(self, result: Path) -> None:
        super().__init__(f"cannot write {result} (its name with that of its card is too long): choose a shorter name")


def check_result(result: Path) -> None:
    """Raise AlreadyThere or NameTooLong, before time is spent on a result."""
    if os.path.exists(result):  # False where `Path.exists` raises, as for a name that is too long
        raise AlreadyThere(result)
    try:
        sidecar_of(result).stat()  # the longest of its names
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise NameTooLong(result) from error


def cannot_write(result: Path, error: OSError) -> StorageError:
    """The error to raise when the disk did not take a result."""
    if error.errno == errno.ENAMETOOLONG:
        return NameTooLong(result)
    return StorageError(f"cannot write {result} ({error.strerror or error}): free some space or choose another folder")


def part_of(result: Path) -> Path:
    """The name under which a result is made; two runs may share a folder."""
    name = result.name.encode("utf-8", "ignore")[:PART_BYTES].decode("utf-8", "ignore")
    return result.with_name(f".{name}.{os.getpid()}.part{result.suffix}")


def put_in_place(part: Path, result: Path, made: Provenance, table: Columns | None, unsure: Path | None = None) -> None:
    """Give a result its table, its card, its uncertainty (made as ``unsure``) and its name: all of them, or none."""
    try:
        if unsure is not None:
            unsure.rename(uncertainty_of(result))
        if table is not None:
            write_table(result, table)
        made.write_beside(result)
        part.rename(result)  # last: a result that is there is never made again
    except BaseException:
        if not os.path.exists(result):
            remove(table_of(result))
            remove(sidecar_of(result))
            if unsure is not None and not unsure.exists():
                remove(uncertainty_of(result))
        raise


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    with suppress(OSError):  # a name that is too long, or whose folder is none
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
