"""The errors a user can cause; every message names the cure. Anything else is a bug and shows its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "could not create a primitive")


class FewshotError(ValueError):
    """Base of everything a user can cause and cure."""


class PictureError(FewshotError):
    """The image cannot be used as it is (too small, too many axes, no finite pixel)."""


class StrokesError(FewshotError):
    """The painted labels cannot be learned from (empty, one class only, another shape)."""


class ModelError(FewshotError):
    """A model is unknown, unreadable, truncated, foreign, altered, or from a newer version."""


class StorageError(FewshotError):
    """A file or folder cannot be written (full, read-only, missing)."""


class ComputeError(FewshotError):
    """The device or the worker cannot do what was asked."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error tells of too little memory: libraries word that differently for each device and system."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)


@contextmanager
def memory_errors_told() -> Iterator[None]:
    """Turn whatever tells of too little memory into ComputeError."""
    try:
        yield
    except FewshotError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ComputeError("out of memory: close other programs, or give a smaller part of the image") from error
