"""What lies beside a result file: the card that says how it was made, and the table of its objects."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.measures import Columns
from napari_fewshot.core.objects import Objects
from napari_fewshot.core.restoring import AS_TRAINED, Restoring

PACKAGES = ("napari-fewshot", "torch", "numpy")


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: its source, the model, the parameters, what they ran with, and what was found in each plane."""

    source: str
    model: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def now(
        cls, source: Path, card: ModelCard, seconds: float, parameters: dict[str, Any], reports: list[dict[str, Any]]
    ) -> Provenance:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(str(source), card.told(), parameters, round(seconds, 3), created, installed_versions(), reports)

    def write_beside(self, result: Path) -> Path:
        """Write ``<result>.json``."""
        path = sidecar_of(result)
        text = json.dumps(vars(self), indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, "utf-8", errors="backslashreplace")  # bytes of a name that are no UTF-8, as JSON escapes
        return path


def parameters_of(restoring: Restoring, first: ModelCard | None, objects: Objects | None) -> dict[str, Any]:
    """What a result tells of how a model was applied; what is as usual is not mentioned."""
    told: dict[str, Any] = {} if restoring == AS_TRAINED else {"restoring": asdict(restoring)}
    if first is not None:
        told["first"] = {"name": first.name, "id": first.id}
    if objects is not None:
        told["objects"] = asdict(objects)
    return told


def write_table(result: Path, columns: Columns) -> Path:
    """Write ``<result>.csv``, one row an object; its first bytes tell Excel that it is UTF-8."""
    path = table_of(result)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
    return path


def is_made_otherwise(result: Path, card: ModelCard, parameters: dict[str, Any]) -> bool:
    """Whether the card beside a result names another model or other parameters, the device aside; not where there is none."""
    try:
        made = json.loads(sidecar_of(result).read_text("utf-8"))
        wanted = json.loads(json.dumps({**parameters, "device": ""}))
        return bool(made["model"]["id"] != card.id or {**made["parameters"], "device": ""} != wanted)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def sidecar_of(result: Path) -> Path:
    return result.with_name(result.name + ".json")


def table_of(result: Path) -> Path:
    return result.with_name(result.name + ".csv")


def uncertainty_of(result: Path) -> Path:
    return result.with_name(f"{result.stem}.uncertainty{result.suffix}")


def installed_versions() -> dict[str, str]:
    """Versions of the packages that decide a result; those that are absent are left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
