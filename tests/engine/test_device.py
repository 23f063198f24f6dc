"""What an accelerator cannot do is not asked of it, also where none is at hand to try."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import napari_fewshot.engine
from napari_fewshot.engine.heads.regress import principal_axes, regress, stack

FILES = sorted(Path(napari_fewshot.engine.__file__).parent.rglob("*.py"))


class AppleGPU(TorchFunctionMode):
    """Tensors say that they are on an Apple GPU until they are brought to the CPU, and refuse there to be decomposed."""

    def __init__(self) -> None:
        super().__init__()
        self.on_cpu: list[Tensor] = []  # kept alive, as they are known by their address

    def __torch_function__(self, call: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(call, "__name__", "")
        given = [a for a in args if isinstance(a, Tensor)]
        is_on_cpu = not given or any(g is t for g in given for t in self.on_cpu)
        if call == Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device("cpu" if is_on_cpu else "mps")
        assert is_on_cpu or not name.startswith(("linalg_", "cholesky")), f"an Apple GPU has no {name}"
        found = call(*args, **(kwargs or {}))
        if name in ("cpu", "to"):
            found = found.clone()  # both would hand back the very tensor here
        if name == "cpu" or (is_on_cpu and name != "to"):
            self.on_cpu += found if isinstance(found, tuple) else [found]
        return found


def test_closed_form_heads_are_solved_beside_an_apple_gpu_which_cannot() -> None:
    torch.manual_seed(0)
    x, y, share, ridge = torch.randn(30, 12), torch.randn(30, 2), torch.full((30, 1), 1 / 30), torch.tensor(0.1)
    with AppleGPU():
        axes, middle = principal_axes(x, 3)
        primal, dual = regress(x, y, share, ridge), regress(x[:5], y[:5], share[:5], ridge)
        stack(torch.stack([y, y + 1]), y, share, (0.5, 0.5), 1.0)
        assert {t.device.type for t in (axes, middle, *primal, *dual)} == {"mps"}


def test_double_precision_is_asked_of_the_cpu_only_as_apple_gpus_have_none() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "double":
                before = ast.unparse(node.value)
                assert before.endswith(".cpu()"), f"{path.name}:{node.lineno} has doubles made of {before}"
