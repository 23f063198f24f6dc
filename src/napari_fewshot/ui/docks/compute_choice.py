"""Which device or machine computes: keeps the dock's list in step with the worker and tells how that is. Knows no job."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_fewshot.core.errors import ComputeError
from napari_fewshot.ui.bridge import Bridge
from napari_fewshot.ui.docks.data_form import DataForm
from napari_fewshot.ui.docks.remote import RemoteDialog

REMOTE = "remote…"


class ComputeChoice(QObject):
    """Guards that what the list shows is where the next job runs, also after a question was cancelled or refused."""

    moving = Signal()  # the worker is about to move: nothing may run
    said = Signal(str, bool)  # a sentence for the status line, and whether it is a failure

    def __init__(self, form: DataForm, bridge: Bridge, parent: QWidget) -> None:
        super().__init__(parent)
        self._form, self._bridge = form, bridge
        self._dialog = RemoteDialog(parent)
        form.device_chosen.connect(self._on_form_device_chosen)
        bridge.state_changed.connect(self._on_bridge_state_changed)

    def show(self) -> None:
        """Tell how the worker is now."""
        self._on_bridge_state_changed(self._bridge.state)

    def _on_form_device_chosen(self, device: str) -> None:
        if device == self._current:
            return
        try:
            remote = self._dialog.ask() if device == REMOTE else None
        except ComputeError as error:
            self.said.emit(str(error), True)
            self._show_devices([])
            return
        if device == REMOTE and remote is None:
            self._show_devices([])
            return
        self.moving.emit()
        self._bridge.use_device("auto" if remote is not None else device, remote)
        self._show_devices([])

    def _on_bridge_state_changed(self, state: str) -> None:
        if state == "starting":
            remote = self._bridge.remote
            self.said.emit(f"connecting to {remote.address}…" if remote else "starting the worker…", False)
        elif state == "ready":
            self.said.emit(f"ready. {self._form.hint}", False)
            compute = self._bridge.compute
            self._bridge.call(lambda: compute().devices(), lambda found, error: self._show_devices(found or []))
        elif state.startswith("failed"):
            self.said.emit(f"the worker {state}: the next click tries again", True)
            self._show_devices([])

    @property
    def _current(self) -> str:
        return self._bridge.device if self._bridge.remote is None else self._bridge.remote.address

    def _show_devices(self, devices: list[str]) -> None:
        """List what can be chosen; the devices of another machine are its own affair."""
        here = devices if self._bridge.remote is None else []
        self._form.show_devices([*here, REMOTE], self._current)
