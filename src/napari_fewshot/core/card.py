"""The card of a model: what it is, where it comes from, how good it was. A value; reading and writing is the shelf's."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from napari_fewshot.core.errors import ModelError

FORMAT = 1


@dataclass(frozen=True)
class ClassLabel:
    """A named, coloured class of a segmentation; ``color`` is ``#rrggbb``."""

    name: str
    color: str


@dataclass(frozen=True)
class ModelCard:
    """Everything worth knowing of a model but its weights.

    ``sha256`` is the hash of the weights file and, with ``id``, filled in when the model is written or built;
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
    created: str = ""
    n_strokes: int = 0
    steps: int = 0
    seconds: float = 0.0
    seed: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    data: str = ""
    command: str = ""
    licence: str = "BSD-3-Clause"
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def is_fine_tuned(self) -> bool:
        return self.parent is not None

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
        try:
            values["classes"] = tuple(ClassLabel(**c) for c in values.get("classes", ()))
            values["zooms"] = tuple(int(z) for z in values.get("zooms", (1,)))
            values["losses"] = tuple(float(v) for v in values.get("losses", ()))
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{source} has a field of the wrong kind ({error}): export the model again") from None
