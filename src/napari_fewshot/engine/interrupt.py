"""Gives up the call of a network at its next layer. Knows no training and no task."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from napari_fewshot.engine.listen import Listener, StopRequested


@contextmanager
def interruptible(listener: Listener, *modules: nn.Module) -> Iterator[None]:
    """Within, `StopRequested` is raised before the next layer of ``modules`` once the listener wants to stop.

    Other threads may call the same modules for somebody else.
    """
    thread = threading.get_ident()

    def check(*_: object) -> None:
        if threading.get_ident() == thread and listener.stopped():
            raise StopRequested

    hooks = [part.register_forward_pre_hook(check) for module in modules for part in module.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
