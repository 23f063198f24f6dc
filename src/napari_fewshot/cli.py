"""The command line: files in, files out. A user's mistake is one line on standard error and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from napari_fewshot.cli_files import Files, list_pictures, pair_painted, read_labels, read_whole
from napari_fewshot.cli_predict import Asked, predict_files
from napari_fewshot.cli_pretrain import pretrain
from napari_fewshot.cli_speech import describe, say
from napari_fewshot.cli_stop import ended_alike, stoppable
from napari_fewshot.core.errors import ComputeError, FewshotError, StorageError
from napari_fewshot.core.objects import SPLIT
from napari_fewshot.core.restoring import Restoring

if TYPE_CHECKING:
    from distributed import Security

INTERRUPTED = 130
MODEL_BYTES = 20_000_000  # that must be free where a model is to be saved, before time is spent on it

app = App(
    name="napari-fewshot",
    help="Few-shot segmentation and restoration of micrographs.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `main` says what becomes of the files
)
models_app = App(name="models", help="List models, or export and import them.")
app.command(models_app)
app.command(pretrain)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        app(sys.argv[1:] if arguments is None else arguments, result_action="return_value")
    except FewshotError as error:
        print(f"napari-fewshot: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as end:
        said = str(end) or "stopped; finished files are complete, the others are not there"
        print(f"napari-fewshot: {said}", file=sys.stderr)
        return INTERRUPTED
    return 0


@app.command
def predict(
    model: str,
    source: Path,
    result: Path,
    *,
    strength: float = 1.0,
    uncertainty: bool = False,
    first: str | None = None,
    objects_of: str | None = None,
    split: float = SPLIT,
    device: str = "auto",
    suffix: str = ".tif",
) -> None:
    """Apply a model to a picture file, or to all picture files of a folder.

    Parameters
    ----------
    model
        Name of a model (see "models"), or a model folder or zip file.
    source
        TIFF, OME-Zarr, dm3/dm4/emd/mrc/ser, PNG or JPEG; or a folder of them (folders within it are left alone).
    result
        A file ending in .tif or .zarr; for a folder, the folder for the results. Results that exist are kept.
    strength
        Of a restoration, 0.5 to 2: more takes away more noise and more detail.
    uncertainty
        Also write how far each pixel of a restoration may be off (one standard deviation, in the units of the image), beside the
        result: out.uncertainty.tif for out.tif.
    first
        Name or folder of a denoising model that restores each plane before a segmentation sees it.
    objects_of
        Name or number of a class: every object of it gets an id of its own, the same along Z, and a row in a table
        (.csv) beside the result.
    split
        How readily objects that touch are cut apart, 0 (not at all) to 1 (at every neck).
    device
        auto, cpu, cuda:0, mps.
    suffix
        For a folder: .tif or .zarr.
    """
    asked = Asked(model, Restoring(strength, uncertainty), first, objects_of, split, device)
    with ended_alike():
        predict_files(asked, source, result, suffix)


@app.command(name="fine-tune")
def fine_tune(
    model: str,
    *,
    images: Files,
    painted: Files | None = None,
    out: Path,
    seconds: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Adapt a model to a few pictures and save it as a model folder; Ctrl-C saves the best so far.

    Parameters
    ----------
    model
        Name of a model (see "models"), or a model folder or zip file.
    images
        Picture files, or one folder of them.
    painted
        For each image: the painted classes (0 = not painted) for a segmentation, the target image for a restoration.
        Without it a restoration adapts to the images alone. Names pair the files (a.tif, a-strokes.tif); where none
        does, their order.
    out
        The new model folder, or a zip file to share when the name ends in .zip.
    seconds
        Wall time; 10 when neither seconds nor steps is given.
    steps
        Number of steps; 0 fits a segmentation's head only.
    seed
        Same seed, same result on a CPU.
    device
        auto, cpu, cuda:0, mps.
    """
    from napari_fewshot import api
    from napari_fewshot.core.picture import picture_of
    from napari_fewshot.core.shelf import Shelf
    from napari_fewshot.engine.checkpoint import check_room
    from napari_fewshot.tasks import TASKS

    if out.exists():
        raise FewshotError(f"{out} exists already: choose another folder (a saved model is never overwritten)")
    check_room(out.parent, MODEL_BYTES)
    paths = list_pictures(images)
    partners = pair_painted(paths, list_pictures(painted)) if painted else None
    generator = api.load(model, device)
    read_painted = read_labels if TASKS[generator.card.task].needs_strokes else read_whole
    pictures = [picture_of(read_whole(path), path.name) for path in paths]
    targets = [read_painted(path) for path in partners] if partners is not None else None
    with stoppable() as listener:
        tuned = api.tuned(generator, pictures, targets, listener, seconds=seconds, steps=steps, seed=seed)
    print(file=sys.stderr)
    try:
        describe(tuned.save(out))
    except StorageError as error:
        raise StorageError(f"{error}; the model is kept as '{Shelf().add(tuned.to_file()).name}'") from None


@models_app.default
def list_models() -> None:
    """List the embedded models and the versions of the user."""
    from napari_fewshot import api
    from napari_fewshot.core.shelf import Shelf

    for card in api.models():
        describe(card)
    for name, reason in Shelf().faults().items():
        say(f"{name}: cannot be read: {reason}")


@models_app.command(name="export")
def export_model(name: str, target: Path) -> None:
    """Copy a model to a zip file (or a folder) that others can import.

    Parameters
    ----------
    name
        Of a model that "models" lists.
    target
        A new file ending in .zip, or a new folder.
    """
    from napari_fewshot.core.shelf import Shelf

    say(Shelf().export(name, target))


@models_app.command(name="import")
def import_model(source: Path) -> None:
    """Check a model folder or zip file and add it to the models.

    Parameters
    ----------
    source
        What "models export" wrote.
    """
    from napari_fewshot.core.shelf import Shelf

    describe(Shelf().import_model(source))


@app.command
def worker(
    address: str,
    *,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    device: str = "auto",
    insecure: bool = False,
) -> None:
    """Let this machine work for the scheduler at an address, over TLS.

    Parameters
    ----------
    address
        tls://host:port.
    ca
        Certificate of the authority that signed the scheduler's and the workers' certificates.
    cert
        This worker's certificate.
    key
        This worker's key.
    device
        auto, cpu, cuda:0, mps.
    insecure
        Do without TLS: anybody who reaches the scheduler can run code here.
    """
    import asyncio

    from distributed import Security

    from napari_fewshot.compute.worker import serve

    if insecure and not address.startswith("tls://"):
        security = Security(require_encryption=False)
    elif ca and cert and key:
        security = _tls(ca, cert, key)
    else:
        raise ComputeError(
            "a worker needs --ca, --cert and --key: see docs/gpu-server.md, or say --insecure and tcp:// on a network you own"
        )
    try:
        asyncio.run(serve(address, security, device))
    except FewshotError:
        raise
    except (RuntimeError, OSError, ValueError) as error:  # "Nanny failed to start", from what its worker raised
        raise ComputeError(
            f"cannot work for {address} ({error.__cause__ or error}): check the address and the TLS files"
        ) from None
    except KeyboardInterrupt:
        print("napari-fewshot: the worker has stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)


@app.command
def demo(*, out: Path = Path("fewshot-demo"), headless: bool = False, seed: int = 0) -> None:
    """Open napari on a shipped micrograph with the dock; without a display do the same job and write files.

    Parameters
    ----------
    out
        Folder for what the headless demo writes.
    headless
        Write files although there is a display.
    seed
        For the simulated strokes and noise.
    """
    from napari_fewshot import demo as demonstration

    reason = "asked for with --headless" if headless else demonstration.why_headless()
    if reason:
        say(f"no viewer ({reason}): doing the same job headless, into {out}/")
        demonstration.run_headless(out, seed)
    else:
        demonstration.open_viewer()


def _tls(ca: Path, cert: Path, key: Path) -> Security:
    from distributed import Security

    for path in (ca, cert, key):
        if not path.is_file():
            raise ComputeError(f"{path} does not exist: check --ca, --cert and --key")
    return Security(require_encryption=True, tls_ca_file=str(ca), tls_worker_cert=str(cert), tls_worker_key=str(key))


if __name__ == "__main__":
    sys.exit(main())
