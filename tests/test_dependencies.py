"""What the extra for the viewer installs is what the viewer's room imports, and the other way round."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def imported(folder):
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]


def names(requirements):
    return {re.match(r"[\w-]+", text).group() for text in requirements}


def test_the_viewers_extra_lists_what_is_imported_and_no_more():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base, extra = names(project["dependencies"]), names(project["optional-dependencies"]["gui"])
    used = set(imported(ROOT / "src/napari_fewshot/ui")) - set(sys.stdlib_module_names) - {"napari_fewshot"}
    assert extra <= used
    assert used <= base | extra
