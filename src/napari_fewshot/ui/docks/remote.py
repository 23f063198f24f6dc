"""Asks for the address and the TLS files of a scheduler on another machine. Connects to nothing."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QFormLayout, QHBoxLayout, QLabel, QLineEdit, QWidget

from napari_fewshot.compute.cluster import Remote
from napari_fewshot.ui.docks.fields import caption, named, sign_button

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
        self.files = {kind: named(QLineEdit(), f"remote_{kind}", *FILES[kind]) for kind in FILES}
        self._lay_out()

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        form.addRow(QLabel("Whoever may talk to a scheduler may run code there, so both sides show certificates."))
        form.addRow(caption("Address", self.address), self.address)
        for kind, line in self.files.items():
            row = QHBoxLayout()
            row.addWidget(line, 1)
            row.addWidget(
                sign_button(
                    "…", f"browse_{kind}", f"Choose: {FILES[kind][0]}", FILES[kind][1], partial(self._browse, kind)
                )
            )
            form.addRow(caption(FILES[kind][0], line), row)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
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
        paths = {kind: line.text().strip() for kind, line in self.files.items()}
        return Remote(self.address.text().strip(), **paths)

    def _browse(self, kind: str) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, FILES[kind][0], self.files[kind].text(), "PEM files (*.pem);;All files (*)"
        )
        if path:
            self.files[kind].setText(path)
