"""Pretraining makes one usable model folder for each embedded generator, also when it is stopped, resumed or short of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_fewshot.core.errors import ComputeError, FewshotError, ModelError, PictureError, StorageError
from napari_fewshot.core.picture import Picture
from napari_fewshot.core.shelf import Shelf, read_model
from napari_fewshot.engine import checkpoint, logbook
from napari_fewshot.engine.generator import Generator
from napari_fewshot.engine.listen import StopRequested
from napari_fewshot.engine.predict import predict_plane
from napari_fewshot.engine.pretexts.inpaint import Inpaint
from napari_fewshot.engine.pretexts.pretext import LabelledSet, Sources
from napari_fewshot.engine.pretrain import curve, pretrain
from napari_fewshot.engine.recipe import Recipe
from napari_fewshot.tasks import TASKS
from tests.engine.noting import Noting

Sample = tuple[np.ndarray, np.ndarray]
TINY = {"name": "residual-unet", "widths": [4, 8]}
ALL = {m for t in TASKS.values() for m in t.models}

pytestmark = pytest.mark.usefixtures("few_pixels")


def recipe(sample: Sample, **changes: object) -> Recipe:
    image, truth = sample
    labelled = LabelledSet("toy", (image,), (truth - 1,))
    made = Recipe((Picture(image[None], "ZYX", "toy"),), (labelled,), net=TINY, steps=1, command="test")
    return replace(made, **changes)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in folder.glob("*/model.safetensors")}


def test_every_embedded_model_comes_out_and_works(tmp_path: Path, superalloy: Sample) -> None:
    cards = {c.name: c for c in pretrain(recipe(superalloy, device="cpu"), tmp_path)}
    assert set(cards) == ALL
    for name, card in cards.items():
        assert card.steps == 1 and card.scores and card.command == "test"
        generator = Generator.from_file(read_model(tmp_path / name))
        if generator.has_head:
            assert predict_plane(generator, superalloy[0][:64, :64])[0].shape == (64 * card.factor,) * 2
    assert not [*tmp_path.glob("checkpoint*")]


def test_a_card_tells_what_was_learned_from_and_what_its_score_is_of(tmp_path: Path, superalloy: Sample) -> None:
    """Images without a usable place are not claimed, and few planes are not said to be held out."""
    few = recipe(superalloy, device="cpu", pretexts={"restore": 1.0}, restorations=("em-denoise",))
    empty = Picture(np.zeros((99, 99), np.uint8), "YX", "empty.tif")
    few = replace(few, pictures=(*few.pictures, empty))
    noise = np.random.default_rng(0).integers(0, 255, (11, 64, 64)).astype(np.uint8)
    many = replace(few, pictures=(Picture(noise, "ZYX", "stack.tif"), empty), pretexts=few.pretexts | {"episodic": 1.0})
    listener = Noting()
    for wanted, data, score in (
        (few, "1 planes of toy", "training L1"),
        (many, "11 planes of stack; label maps of toy", "held-out L1"),
    ):
        card = pretrain(wanted, tmp_path / score, listener)[0]
        assert card.data == data and set(card.scores) == {score}
    assert sum("nothing of empty.tif is used" in note for note in listener.notes) == 2
    assert sum("too few planes to hold one out" in note for note in listener.notes) == 1


def test_one_restoration_alone_is_made_when_asked_for(tmp_path: Path, superalloy: Sample) -> None:
    wanted = recipe(superalloy, device="cpu", pretexts={"restore": 1.0}, restorations=("em-denoise",), steps=2)
    assert [c.name for c in pretrain(wanted, tmp_path)] == ["em-denoise"]
    earlier = (read_model(tmp_path / "em-denoise"),)
    assert pretrain(replace(wanted, start=earlier), tmp_path / "more")[0].steps == 4


def test_a_restoration_can_be_judged_by_its_squared_error(tmp_path: Path, superalloy: Sample) -> None:
    wanted = recipe(superalloy, device="cpu", pretexts={"restore": 1.0}, adversarial=0.0, steps=3)
    (by_l1, *_), (by_psnr, *_) = (pretrain(replace(wanted, fidelity=f), tmp_path / f) for f in ("l1", "psnr"))
    assert by_l1.losses != by_psnr.losses and np.isfinite(by_psnr.losses).all()


def test_the_embedded_models_are_those_of_the_usual_network(tmp_path: Path, superalloy: Sample) -> None:
    """The names and shapes in the files stay what they are in the shipped ones."""
    usual = Recipe((Picture(superalloy[0], "YX"),)).net
    pretrain(recipe(superalloy, device="cpu", net=usual, steps=0), tmp_path)
    for name in ALL:
        made, shipped = (safetensors.torch.load(m.weights) for m in (read_model(tmp_path / name), Shelf().read(name)))
        assert {k: v.shape for k, v in made.items()} == {k: v.shape for k, v in shipped.items()}


@pytest.mark.parametrize("net", [{"name": "receptive-unet", "receptive_px": 44}, {"name": "hrnet", "widths": [4, 8]}])
def test_any_network_can_be_pretrained(net: dict[str, object], tmp_path: Path, superalloy: Sample) -> None:
    (card,) = pretrain(recipe(superalloy, device="cpu", net=net, pretexts={"inpaint": 1}), tmp_path)
    assert card.name == "em-segment" and card.net == net and "hidden L1" in card.scores


def test_a_stop_leaves_usable_models_and_something_to_go_on_with(tmp_path: Path, superalloy: Sample) -> None:
    cards = pretrain(recipe(superalloy, device="cpu", steps=9), tmp_path, Noting(stop_after=2))
    assert {c.name for c in cards} == ALL and {c.steps for c in cards} == {2}
    assert (tmp_path / checkpoint.FILE).exists()


def test_stopped_before_the_first_step_there_is_no_model(tmp_path: Path, superalloy: Sample) -> None:
    with pytest.raises(StopRequested):
        pretrain(recipe(superalloy, device="cpu"), tmp_path, Noting(stop_after=0))
    assert not [*tmp_path.glob("em-*")]


def test_stopping_and_resuming_gives_what_not_stopping_gives(tmp_path: Path, superalloy: Sample) -> None:
    """Bit for bit, with a discriminator, and with a thread that draws in advance."""
    pretexts = {"restore": 1.0, "inpaint": 0.5, "episodic": 1.0, "contrast": 0.1}
    wanted = recipe(superalloy, device="cpu", steps=4, pretexts=pretexts, n_loaders=1)
    pretrain(wanted, tmp_path / "whole")
    pretrain(wanted, tmp_path / "first", Noting(stop_after=2))
    listener = Noting()
    cards = pretrain(replace(wanted, resume=tmp_path / "first"), tmp_path / "second", listener)
    assert {c.steps for c in cards} == {4} and listener.steps == 4
    assert weights(tmp_path / "second") == weights(tmp_path / "whole") != weights(tmp_path / "first")


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
def test_processes_that_draw_change_nothing(tmp_path: Path, superalloy: Sample) -> None:
    wanted = recipe(superalloy, device="cpu", steps=5, pretexts={"inpaint": 1.0})
    for n in (0, 2):
        pretrain(replace(wanted, n_loaders=n), tmp_path / str(n))
    assert weights(tmp_path / "0") == weights(tmp_path / "2")


def test_only_the_same_training_can_be_resumed(tmp_path: Path, superalloy: Sample) -> None:
    wanted = recipe(superalloy, device="cpu", steps=4, pretexts={"inpaint": 1.0})
    pretrain(wanted, tmp_path / "first", Noting(stop_after=1))
    listener = Noting()
    pretrain(replace(wanted, resume=tmp_path / "first", steps=None, seconds=0.1), tmp_path / "third", listener)
    assert any("until 0.1 s now, no longer 4 steps" in note for note in listener.notes)
    for changes, message in (
        ({"seed": 1}, "another seed"),
        ({"in_bfloat16": True}, "another precision"),
        ({"start": (read_model(tmp_path / "first" / "em-segment"),)}, "another start"),
        ({"resume": tmp_path / "none"}, "holds no checkpoint"),
    ):
        with pytest.raises(ModelError, match=message):
            pretrain(replace(wanted, **({"resume": tmp_path / "first"} | changes)), tmp_path / "second")  # type: ignore[arg-type]
    (tmp_path / "first" / checkpoint.FILE).write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="damaged"):
        pretrain(replace(wanted, resume=tmp_path / "first"), tmp_path / "second")


def test_a_disk_that_fills_up_does_not_end_the_training(
    tmp_path: Path, superalloy: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        if self.name.endswith(checkpoint.FILE):
            raise OSError(28, "No space left on device")
        return write(self, data)

    write, listener = Path.write_bytes, Noting()
    monkeypatch.setattr(Path, "write_bytes", full)
    (card,) = pretrain(recipe(superalloy, device="cpu", steps=2, pretexts={"inpaint": 1.0}), tmp_path, listener)
    assert card.steps == 2 and any("free some space; the training goes on" in n for n in listener.notes)


def test_a_checkpoint_that_does_not_fit_leaves_its_room_to_the_models(
    tmp_path: Path, superalloy: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Path, data: bytes) -> int:
        if self.name.endswith(checkpoint.FILE):
            write(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write(self, data)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", half)
    pretrain(recipe(superalloy, device="cpu", steps=2, pretexts={"inpaint": 1.0}), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["em-segment"]


def test_models_that_cannot_be_saved_come_out_of_the_checkpoint_later(
    tmp_path: Path, superalloy: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Generator, folder: Path) -> None:
        raise StorageError(f"cannot write {folder}: free some space")

    wanted = recipe(superalloy, device="cpu", steps=2, pretexts={"inpaint": 1.0})
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="what was learned is in"):
        patch.setattr(Generator, "save", full)
        pretrain(wanted, tmp_path / "a")
    (card,) = pretrain(replace(wanted, resume=tmp_path / "a"), tmp_path / "b")
    assert card.steps == 2


def test_the_room_for_all_that_is_written_is_asked_for(tmp_path: Path, superalloy: Sample) -> None:
    """The discriminator is larger than the rest of so small a network."""
    wanted = recipe(superalloy, device="cpu", steps=3)
    asked = list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_fewshot.engine.recipe.check_room", lambda folder, n_bytes: asked.append(n_bytes))
        pretrain(wanted, tmp_path, Noting(stop_after=1))
    made = [p.stat().st_size * (2 if p.name == checkpoint.FILE else 1) for p in tmp_path.rglob("*") if p.is_file()]
    assert sum(made) < asked[0] < 4 * sum(made)


def test_a_training_begins_with_earlier_models(tmp_path: Path, superalloy: Sample) -> None:
    pretrain(recipe(superalloy, device="cpu", steps=2), tmp_path / "a")
    start = tuple(read_model(p) for p in sorted((tmp_path / "a").iterdir()))
    cards = pretrain(recipe(superalloy, device="cpu", steps=0, start=start), tmp_path / "b")
    assert {c.steps for c in cards} == {2} and weights(tmp_path / "b") == weights(tmp_path / "a")
    with pytest.raises(ModelError, match="another network"):
        pretrain(recipe(superalloy, device="cpu", start=start, net={"name": "hrnet", "widths": [4]}), tmp_path / "c")


def test_a_wider_network_begins_with_a_narrower_one(tmp_path: Path, superalloy: Sample) -> None:
    pretrain(recipe(superalloy, device="cpu", steps=2), tmp_path / "a")
    start = tuple(read_model(p) for p in sorted((tmp_path / "a").iterdir()))
    pretrain(recipe(superalloy, device="cpu", steps=0, start=start, net=TINY | {"widths": [8, 16]}), tmp_path / "b")
    models = [read_model(tmp_path / f / "em-denoise") for f in "ab"]
    image = superalloy[0][:64, :64].astype(np.float32)  # integers would be rounded
    narrow, wide = (predict_plane(Generator.from_file(m), image)[0] for m in models)
    np.testing.assert_allclose(wide, narrow, atol=0.1)  # of 255 grey levels; weights are stored as float16


def test_half_of_the_precision_trains_as_well(tmp_path: Path, superalloy: Sample) -> None:
    (card,) = pretrain(recipe(superalloy, device="cpu", pretexts={"episodic": 1.0}, in_bfloat16=True), tmp_path)
    assert np.isfinite(card.losses).all() and card.scores["episode mean IoU"] > 0


def test_losses_scores_and_samples_are_logged(tmp_path: Path, superalloy: Sample) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pretexts = {"restore": 1.0, "inpaint": 1.0, "hybrid": 1.0, "episodic": 1.0, "contrast": 1.0}
    pretrain(recipe(superalloy, device="cpu", pretexts=pretexts, log=tmp_path / "log"), tmp_path / "out")
    log = EventAccumulator(str(tmp_path / "log")).Reload()
    assert {"loss/restore l1", "score/episode mean IoU"} <= set(log.Tags()["scalars"])
    assert set(log.Tags()["images"]) == set(pretexts)


def test_a_log_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")

    class Full:
        def __getattr__(self, name: str) -> object:
            raise OSError(28, "No space left on device")

    listener = Noting()
    log = logbook.Logbook(tmp_path, listener)
    log.writer.close()
    log.writer = Full()
    log.losses(1, {"l1": torch.ones(())})
    log.scores(1, {"l1": 1.0})
    log.pictures(1, {"inpaint": np.zeros((4, 4), np.float32)})
    log.close()
    (note,) = listener.notes
    assert "No space left on device" in note and "goes on without a log" in note


def test_a_missing_extra_is_named(tmp_path: Path, superalloy: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ComputeError, match=r"napari-fewshot\[pretrain\]"):
        logbook.Logbook(tmp_path)


def test_what_ends_a_training_leaves_its_models_and_something_to_go_on_with(
    tmp_path: Path, superalloy: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(self: Inpaint, sources: Sources, step: int, rng: np.random.Generator) -> object:
        if step == 2:
            raise RuntimeError("the device fell off the bus")
        return draw(self, sources, step, rng)

    draw, listener = Inpaint.draw, Noting()
    wanted = recipe(superalloy, device="cpu", steps=4, pretexts={"inpaint": 1.0})
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="fell off the bus"):
        patch.setattr(Inpaint, "draw", break_down)
        pretrain(wanted, tmp_path / "first", listener)
    assert read_model(tmp_path / "first" / "em-segment").card.steps == 2 and "of 2 steps" in listener.notes[-1]
    pretrain(replace(wanted, resume=tmp_path / "first"), tmp_path / "second")
    pretrain(wanted, tmp_path / "whole")
    assert weights(tmp_path / "second") == weights(tmp_path / "whole")


class Damaged:
    """An array whose second plane cannot be read."""

    shape, dtype = (2, 128, 128), np.dtype(np.uint8)

    def __getitem__(self, where: tuple[object, ...]) -> np.ndarray:
        if where[0] == 1:
            raise OSError("bad sector")
        return np.tile(np.arange(128, dtype=np.uint8), (128, 1))


def test_a_corrupt_image_is_named_and_skipped(tmp_path: Path, superalloy: Sample) -> None:
    wanted = recipe(superalloy, device="cpu", pretexts={"inpaint": 1.0})
    listener = Noting()
    pretrain(
        replace(wanted, pictures=(*wanted.pictures, Picture(Damaged(), "ZYX", "torn.tif"))), tmp_path / "a", listener
    )
    assert any("torn.tif is left out (OSError: bad sector)" in n for n in listener.notes)


def fill(folder: Path) -> None:
    (folder / "em-segment").mkdir(parents=True)


def stand_in_the_way(folder: Path) -> None:
    folder.write_text("a file")


@pytest.mark.parametrize(
    ("changes", "prepare", "error", "message"),
    [
        ({"pictures": (Picture(np.zeros((1, 20, 20)), "ZYX"),)}, None, PictureError, "add larger images"),
        ({"pictures": (Picture(np.zeros((1, 99, 99)), "ZYX"),)}, None, PictureError, "show some structure"),
        ({"pretexts": {"juggle": 1.0}}, None, ModelError, "no pretext 'juggle'"),
        ({"pretexts": {"inpaint": 0.0}}, None, ModelError, "more than 0, or leave it out"),
        ({"pretexts": {"inpaint": np.inf}}, None, ModelError, "the weight of inpaint cannot be inf"),
        ({"seconds": np.nan}, None, ModelError, "seconds cannot be nan"),
        ({"seconds": 0}, None, ModelError, "seconds cannot be 0"),
        ({"steps": -5}, None, ModelError, "steps cannot be -5"),
        ({"seed": -1}, None, ModelError, "seed cannot be -1"),
        ({"n_loaders": -1}, None, ModelError, "loaders cannot be -1"),
        ({"adversarial": -1.0}, None, ModelError, "adversarial cannot be -1"),
        ({"restorations": ("em-denoise",) * 2}, None, ModelError, "choose any of them once"),
        ({"restorations": ("em-denoise",), "pretexts": {"inpaint": 1}}, None, ModelError, "comes of 'restore'"),
        ({"net": TINY | {"widths": []}}, None, ModelError, "widths cannot be"),
        ({"net": TINY | {"widths": [-4, 8]}}, None, ModelError, "1 or more, finest first"),
        ({"net": TINY | {"receptive_px": 44}}, None, ModelError, "check --net"),
        ({"net": {"name": "receptive-unet", "receptive_px": 45}}, None, ModelError, "receptive_px is one of 44"),
        ({"resume": Path("nope")}, None, ModelError, "nope holds no checkpoint"),
        ({"batch": 0}, None, ModelError, "makes no training"),
        ({"batch": 100_000}, None, ModelError, "choose 1 to 1024"),
        ({"restorations": ("em-juggle",)}, None, ModelError, "choose any of them"),
        ({"net": {"name": "perceptron"}}, None, ModelError, "choose from residual-unet"),
        ({}, fill, StorageError, "exists already"),
        ({"rate": 0.0}, None, ModelError, "learns nothing"),
        ({"fidelity": "beauty"}, None, ModelError, "choose from l1, psnr"),
        ({}, stand_in_the_way, StorageError, "choose another folder"),
        ({"net": TINY}, "full", StorageError, "has room for 0 MB"),
        ({"log": Path(__file__)}, None, StorageError, "choose another folder"),
    ],
)
def test_what_is_wrong_is_said_before_the_training(
    changes: dict[str, object], prepare: Callable[[Path], None] | str | None, error: type[FewshotError], message: str,
    tmp_path: Path, superalloy: Sample, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    if callable(prepare):
        prepare(out)
    elif prepare:
        monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(error, match=message):
        pretrain(recipe(superalloy, device="cpu", **changes), out)


def test_a_curve_keeps_few_points() -> None:
    assert len(curve([1.0] * 5000)) == 200 and curve([]) == () and curve([2.0]) == (2.0,)
