"""The card of a model: what it is, where it comes from, how good it was. A value; reading and writing is the shelf's."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from napari_fewshot.core.errors import ModelError
from napari_fewshot.core.operating import OperatingPoint
from napari_fewshot.core.spectrum import Spectrum

FORMAT = 1
# Tol's bright scheme, told apart with any colour vision
PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")

# endings of the names of measures of which more is better and 1 is perfect; all others are errors
SCORES = ("IoU", "held-out gain", "held-out error removed")

# what cards of fine-tuned models say as ``data``
IMAGES, WITH_TARGETS = "the user's images", "the user's images with targets"


@dataclass(frozen=True)
class ClassLabel:
    """A named, coloured class of a segmentation; ``color`` is ``#rrggbb``."""

    name: str
    color: str


@dataclass(frozen=True)
class ModelCard:
    """Everything worth knowing of a model but its weights.

    ``sha256`` is the hash of the weights file and, with ``id``, filled in when the model is written or built;
    ``classes`` are those of 1 .. K, ``painted`` the numbers among them that anybody painted and the model answers.
    ``smallest_px`` is, for each of these, the size of what is too small to be an object of it.
    ``never_miss`` moves the border of one class so that little of it is missed.
    ``parent`` is the id of the model it was fine-tuned from. ``scores`` and ``losses`` are what was measured,
    nothing else.
    """

    name: str
    task: str
    net: dict[str, Any]
    id: str = ""
    sha256: str = ""
    parent: str | None = None
    format: int = FORMAT
    factor: int = 1
    zooms: tuple[int, ...] = (1,)
    classes: tuple[ClassLabel, ...] = ()
    painted: tuple[int, ...] = ()
    smallest_px: tuple[int, ...] = ()
    never_miss: OperatingPoint | None = None
    created: str = ""
    n_painted_px: int = 0
    steps: int = 0
    seconds: float = 0.0
    seed: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    data: str = ""
    command: str = ""
    licence: str = "BSD-3-Clause"
    versions: dict[str, str] = field(default_factory=dict)
    spectrum: tuple[Spectrum, Spectrum] | None = None  # mean and spread of its training inputs', see `core.spectrum`

    @property
    def class_numbers(self) -> tuple[int, ...]:
        """The classes that are answered: those that were painted, ascending."""
        return self.painted or tuple(range(1, len(self.classes) + 1))

    def smallest_of(self, class_number: int) -> int:
        """The size in pixels from which something of a class is an object and no speck."""
        return dict(zip(self.class_numbers, self.smallest_px, strict=False)).get(class_number, 1)

    def _check_kinds(self) -> None:
        """Raise TypeError when a field is not what the rest of the program takes it for."""
        texts = (self.name, self.task, self.id, self.sha256, self.created, self.data, self.command, self.licence)
        point = self.never_miss
        numbers = (
            *(() if point is None else asdict(point).values()),
            self.factor,
            self.n_painted_px,
            self.steps,
            self.seconds,
            self.seed,
            *self.scores.values(),
        )
        if not all(isinstance(t, str) for t in texts) or not isinstance(self.parent, str | None):
            raise TypeError("a text is missing")
        if not all(isinstance(n, int | float) for n in numbers) or not isinstance(self.net, dict):
            raise TypeError("a number is missing")
        if not self.zooms or min(self.zooms) < 1 or self.factor < 1:
            raise ValueError("zooms and factor must be at least 1")
        if not isinstance(self.versions, dict):
            raise TypeError("the versions are missing")
        if not all(isinstance(text, str) for c in self.classes for text in (c.name, c.color)):
            raise TypeError("the name or colour of a class is missing")

    @property
    def score(self) -> tuple[str, float] | None:
        """The first measure that is one of `SCORES`, and its value; an error such as L1, or a loss, is none."""
        return next(((name, value) for name, value in self.scores.items() if name.endswith(SCORES)), None)

    def told(self) -> dict[str, Any]:
        """What a result tells of the model that made it, in JSON's types."""
        names = ("name", "id", "sha256", "parent", "task", "factor", "seed", "steps", "n_painted_px")
        return {name: getattr(self, name) for name in names} | {"classes": [c.name for c in self.classes]}

    def renamed(self, name: str) -> ModelCard:
        return replace(self, name=name)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False, default=float) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "card.json") -> ModelCard:
        """Parse a card.

        Raises
        ------
        ModelError
            Not a card, or written by a newer version.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise ModelError(f"{source} is not a readable model card ({error}): export the model again") from None
        if not isinstance(raw, dict) or not {"name", "task", "net", "format"} <= raw.keys():
            raise ModelError(f"{source} is not a napari-fewshot model card: choose a folder written by this plugin")
        if not isinstance(raw["format"], int) or raw["format"] > FORMAT:
            raise ModelError(
                f"{source} has card format {raw['format']}, this version reads up to {FORMAT}: update napari-fewshot"
            )
        known = {f.name for f in fields(cls)}
        values = {k: v for k, v in raw.items() if k in known}
        values.setdefault("n_painted_px", raw.get("n_strokes", 0))  # as it was called at first
        try:
            values["classes"] = tuple(ClassLabel(**c) for c in values.get("classes", ()))
            values["zooms"] = tuple(int(z) for z in values.get("zooms", (1,)))
            values["painted"] = tuple(int(k) for k in values.get("painted", ()))
            values["smallest_px"] = tuple(int(n) for n in values.get("smallest_px", ()))
            trained = values.get("spectrum")
            values["spectrum"] = trained and tuple(tuple(float(v) for v in rings) for rings in trained)
            point = values.get("never_miss")
            values["never_miss"] = None if point is None else OperatingPoint(**point)
            values["losses"] = tuple(float(v) for v in values.get("losses", ()))
            card = cls(**values)
            card._check_kinds()
            return card
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelError(f"{source} has a field of the wrong kind ({error}): export the model again") from None
