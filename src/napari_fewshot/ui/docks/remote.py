"""Asks for the address and the TLS files of a scheduler on another machine. Connects to nothing."""

from __future__ import annotations

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QLineEdit, QWidget

from napari_fewshot.compute.cluster import Remote
from napari_fewshot.ui.docks.fields import caption, named

FILES = {
    "ca": ("Authority", "The certificate of the authority that signed the others (ca.pem)."),
    "cert": ("Certificate", "Your certificate (cert.pem)."),
    "key": ("Key", "The key of your certificate (key.pem); it stays on this computer."),
}


class RemoteDialog(QDialog):
    """Address and TLS files of a scheduler; what was typed is there again when it is asked for again."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("remote_dialog")
        self.setWindowTitle("Compute on another machine")
        self.address = named(
            QLineEdit(), "remote_address", "Address", "Where the scheduler listens, as tls://host:port."
        )
        self.address.setPlaceholderText("tls://server:8786")
        self.files = {kind: _file_edit(kind) for kind in FILES}
        self._lay_out()

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.addRow(QLabel("Whoever may talk to a scheduler may run code there, so both sides show certificates."))
        form.addRow(caption("Address", self.address), self.address)
        for kind, file in self.files.items():
            form.addRow(caption(FILES[kind][0], file.line_edit.native), file.native)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        named(buttons.button(QDialogButtonBox.StandardButton.Ok), "remote_ok", "OK", "Compute there from now on.")
        named(buttons.button(QDialogButtonBox.StandardButton.Cancel), "remote_cancel", "Cancel", "Go on as before.")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form.addRow(buttons)

    def ask(self) -> Remote | None:
        """Ask and wait for the answer; None when it is cancelled.

        Raises
        ------
        ComputeError
            The address is not encrypted, or a file is missing.
        """
        if self.exec() != QDialog.DialogCode.Accepted:
            return None
        ca, cert, key = (self.files[kind].line_edit.value.strip() for kind in ("ca", "cert", "key"))
        return Remote(self.address.text().strip(), ca, cert, key)


def _file_edit(kind: str) -> FileEdit:
    title, hint = FILES[kind]
    file = FileEdit(FileDialogMode.EXISTING_FILE, filter="PEM files (*.pem);;All files (*)", nullable=True)
    named(file.line_edit.native, f"remote_{kind}", title, hint)
    named(file.choose_btn.native, f"browse_{kind}", f"Choose: {title}", hint)
    return file
