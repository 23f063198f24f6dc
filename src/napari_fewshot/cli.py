"""The command line: files in, files out. A user's mistake is one line on standard error and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import App, Parameter

from napari_fewshot.compute.events import Event, Note, Progress
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.errors import ComputeError, FewshotError, PictureError

if TYPE_CHECKING:
    from distributed import Security

    from napari_fewshot.api import Teller
    from napari_fewshot.batch.folder import PlaneWork
    from napari_fewshot.engine.pretexts.episodic import LabelledSet

app = App(
    name="napari-fewshot", help="Few-shot segmentation and restoration of micrographs.", version_flags=["--version"]
)
models_app = App(name="models", help="List models, or export and import them.")
app.command(models_app)

Files = Annotated[list[Path], Parameter(consume_multiple=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        app(sys.argv[1:] if arguments is None else arguments, result_action="return_value")
    except FewshotError as error:
        print(f"napari-fewshot: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("napari-fewshot: stopped; finished files are complete, the others are not there", file=sys.stderr)
        return 130
    return 0


@app.command
def predict(model: str, source: Path, result: Path, *, device: str = "auto", suffix: str = ".tif") -> None:
    """Apply a model to a picture file, or to all picture files of a folder.

    Parameters
    ----------
    model
        Name of a model (see "models"), or a model folder.
    source
        TIFF, OME-Zarr, dm3/dm4/emd/mrc/ser, PNG or JPEG; or a folder of them.
    result
        A file ending in .tif or .zarr; for a folder, the folder for the results. Results that exist are kept.
    device
        auto, cpu, cuda:0, mps.
    suffix
        For a folder: .tif or .zarr.
    """
    from napari_fewshot.batch.folder import apply_to_file, apply_to_folder, plan_folder
    from napari_fewshot.batch.formats import format_of, open_picture

    if not source.is_dir() or format_of(source) is not None:
        with open_picture(source):  # names a wrong file before the model is loaded
            pass
        apply_to_file(source, result, _plane_work(model, device))
        print(result)
        return
    steps = plan_folder(source, result, suffix)
    report = apply_to_folder(steps, _plane_work(model, device))
    print(f"{len(report.written)} written, {len(report.skipped)} there already, {len(report.failed)} left out")
    if report.failed:
        raise PictureError("; ".join(f"{path.name}: {why}" for path, why in report.failed))


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
    """Adapt a model to a few pictures and save it as a model folder.

    Parameters
    ----------
    model
        Name of a model (see "models"), or a model folder.
    images
        Picture files, or one folder of them.
    painted
        For each image: the painted classes (0 = not painted) for a segmentation, the target image for a restoration.
        Without it a restoration adapts to the images alone.
    out
        The new model folder.
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

    if out.exists():
        raise FewshotError(f"{out} exists already: choose another folder (a saved model is never overwritten)")
    arrays = [_read(path) for path in _listed(images)]
    targets = [_read(path) for path in _listed(painted)] if painted else None
    generator = api.load(model, device)
    tuned = api.fine_tune(generator, arrays, targets, seconds=seconds, steps=steps, seed=seed, on_event=_show)
    print(file=sys.stderr)
    _describe(tuned.save(out))


@app.command
def pretrain(
    *,
    data: Files,
    out: Path,
    labelled: Files | None = None,
    leave_out: str = "",
    seconds: float = 3600.0,
    seed: int = 0,
    device: str = "auto",
    licence: str = "BSD-3-Clause",
) -> None:
    """Pretrain the embedded models from unlabelled pictures.

    Parameters
    ----------
    data
        Picture files, or folders of them.
    out
        Gets one model folder for each embedded model.
    labelled
        Folders with images/ and labels/ of the same file names, for the few-shot episodes.
    leave_out
        Files whose name contains this are not used.
    seconds
        Wall time in all.
    seed
        For everything random.
    device
        auto, cpu, cuda:0, mps.
    licence
        What the cards say of the models.
    """
    from napari_fewshot.batch.formats import open_picture
    from napari_fewshot.engine.pretrain import Recipe
    from napari_fewshot.engine.pretrain import pretrain as run

    paths = [p for p in _listed(data) if not leave_out or leave_out not in p.name]
    if not paths:
        raise PictureError("there is no picture to learn from: check --data and --leave-out")
    with ExitStack() as files:
        pictures = tuple(files.enter_context(open_picture(p)).picture for p in paths)
        recipe = Recipe(
            pictures,
            tuple(_labelled_set(folder) for folder in labelled or ()),
            seconds,
            seed=seed,
            device=device,
            data=f"{sum(p.n_planes for p in pictures)} planes of {', '.join(p.stem for p in paths)}",
            command=" ".join(["napari-fewshot", *sys.argv[1:]]),
            licence=licence,
        )
        for card in run(recipe, out, _listener()):
            _describe(card)


@models_app.default
def list_models() -> None:
    """List the embedded models and the versions of the user."""
    from napari_fewshot import api

    for card in api.models():
        _describe(card)


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

    print(Shelf().export(name, target))


@models_app.command(name="import")
def import_model(source: Path) -> None:
    """Check a model folder or zip file and add it to the models.

    Parameters
    ----------
    source
        What "models export" wrote.
    """
    from napari_fewshot.core.shelf import Shelf

    _describe(Shelf().import_model(source))


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

    if insecure:
        security = Security(require_encryption=False)
    elif ca and cert and key:
        security = _tls(ca, cert, key)
    else:
        raise ComputeError(
            "a worker needs --ca, --cert and --key: see docs/gpu-server.md, or say --insecure on a network you own"
        )
    try:
        asyncio.run(serve(address, security, device))
    except (RuntimeError, OSError) as error:  # "Nanny failed to start", from what its worker raised
        raise ComputeError(
            f"cannot work for {address} ({error.__cause__ or error}): check the address and the TLS files"
        ) from None


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
        print(f"no viewer ({reason}): doing the same job headless, into {out}/")
        demonstration.run_headless(out, seed)
    else:
        demonstration.open_viewer()


def _plane_work(model: str, device: str) -> PlaneWork:
    from napari_fewshot import api
    from napari_fewshot.batch.folder import PlaneWork
    from napari_fewshot.engine.predict import predict_plane

    generator = api.load(model, device)
    parameters = {"device": generator.device}
    return PlaneWork(
        lambda plane: predict_plane(generator, plane)[0], generator.card, on_event=_show, parameters=parameters
    )


def _labelled_set(folder: Path) -> LabelledSet:
    from napari_fewshot.engine.pretexts.episodic import LabelledSet

    images = _listed([folder / "images"])
    labels = [folder / "labels" / path.name for path in images]
    return LabelledSet(folder.name, tuple(_read(p) for p in images), tuple(_read(p) for p in labels))


def _tls(ca: Path, cert: Path, key: Path) -> Security:
    from distributed import Security

    for path in (ca, cert, key):
        if not path.is_file():
            raise ComputeError(f"{path} does not exist: check --ca, --cert and --key")
    return Security(require_encryption=True, tls_ca_file=str(ca), tls_worker_cert=str(cert), tls_worker_key=str(key))


def _listed(paths: Sequence[Path]) -> list[Path]:
    from napari_fewshot.batch.formats import format_of

    found: list[Path] = []
    for path in paths:
        if path.is_dir() and format_of(path) is None:
            found += sorted(p for p in path.iterdir() if format_of(p) is not None)
        else:
            found.append(path)
    return found


def _read(path: Path) -> np.ndarray:
    from napari_fewshot.batch.formats import open_picture

    with open_picture(path) as opened:
        picture = opened.picture
        planes = [picture.take_plane(index) for index in picture.plane_indices()]
    return np.stack(planes).reshape(picture.shape)  # (n, Y, X) -> (..., Y, X)


def _listener() -> Teller:
    from napari_fewshot.api import Teller

    return Teller(_show)


def _show(event: Event) -> None:
    if isinstance(event, Note):
        print(f"\n{event.message}", file=sys.stderr)
    elif isinstance(event, Progress):
        left = "" if event.seconds_left is None else f", {event.seconds_left:.0f} s left"
        total = "" if event.total is None else f"/{event.total}"
        losses = "".join(f", {k} {v:.4g}" for k, v in event.losses.items())
        score = "" if event.score is None else f", score {event.score:.3f}"
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"{event.done}{total}, {event.seconds:.0f} s{left}{losses}{score}", end=end, file=sys.stderr)


def _describe(card: ModelCard) -> None:
    scores = ", ".join(f"{k} {v:.3g}" for k, v in card.scores.items())
    parent = f"from {card.parent}" if card.parent else "pretrained"
    print(f"{card.name}\t{card.task}\t{card.id}\t{parent}\t{card.created}\t{scores}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
