"""The import rule of the rooms, read off the syntax trees, and what a fresh interpreter may have loaded."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_fewshot

ROOT = Path(napari_fewshot.__file__).parent
PACKAGE = "napari_fewshot"
GUI = {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PyQt5", "PyQt6", "PySide6", "vispy"}

# What a room may import of the package: rooms, or single modules of them.
ROOMS = {
    "core": {"core"},
    "tasks": {"core", "tasks"},
    "engine": {"core", "tasks", "engine"},
    "compute": {"core", "compute"},
    "batch": {"core", "compute", "batch"},
    "ui": {"core", "tasks", "compute", "batch", "ui"},
    "samples": set(),
}
# Single files that may import more, or modules that may be imported less.
EXTRA = {"compute/jobs.py": {"engine", "tasks"}, "compute/guide_jobs.py": {"engine"}}
ON_THE_WORKER = {f"napari_fewshot.compute.{name}" for name in ("guide_jobs", "jobs", "worker")}
FOREIGN = {
    "core": GUI | {"torch", "dask", "distributed", "scipy"},
    "tasks": GUI | {"torch", "dask", "distributed"},
    "engine": GUI | {"dask", "distributed"},
    "compute": GUI | {"torch"},
    "batch": GUI | {"torch", "distributed"},
    "ui": {"torch", "distributed"},
    "samples": GUI | {"torch", "dask", "distributed"},
}
FILES = [p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))]


def imports(path):
    """Every module a file imports, at any depth, with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names if node.module == PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_room_imports_only_what_the_rule_allows(path):
    relative = path.relative_to(ROOT)
    room = relative.parts[0]
    allowed = ROOMS[room] | EXTRA.get(relative.as_posix(), set())
    for module, line in imports(path):
        where = f"{relative}:{line} imports {module}"
        top, *rest = module.split(".")
        assert top not in FOREIGN[room], where
        if top == PACKAGE and rest:
            assert rest[0] in allowed, where
            assert room in ("compute", "engine") or module not in ON_THE_WORKER, where


def test_every_folder_of_the_package_is_a_room_that_is_checked():
    folders = {p.parent.relative_to(ROOT).parts[0] for p in ROOT.rglob("*.py") if p.parent != ROOT}
    assert folders == set(ROOMS)


def loaded_after(statement):
    """Names of the top-level modules in a fresh interpreter after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    heavy = GUI | {"torch", "numpy", "scipy", "dask", "distributed", "zarr", "tifffile"}
    assert not loaded_after("import napari_fewshot") & heavy


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_fewshot as nf; nf.models()",
        "import napari_fewshot.cli",
        "import napari_fewshot.batch.folder, napari_fewshot.batch.through_compute",
        "import napari_fewshot.compute.client",
        "from napari_fewshot import samples; samples.medulla()",
    ],
)
def test_without_a_generator_neither_torch_nor_a_viewer_is_loaded(statement):
    assert not loaded_after(statement) & (GUI | {"torch"})


def test_the_docks_do_not_load_torch():
    pytest.importorskip("napari")
    statement = """
import importlib, pkgutil
import napari_fewshot.ui
for module in pkgutil.walk_packages(napari_fewshot.ui.__path__, "napari_fewshot.ui."):
    importlib.import_module(module.name)
"""
    assert "torch" not in loaded_after(statement)
