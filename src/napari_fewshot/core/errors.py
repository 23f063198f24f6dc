"""The errors a user can cause; every message names the cure. Anything else is a bug and shows its traceback."""


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
