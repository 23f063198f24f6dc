"""How the dock feels: seconds from click to preview, stroke to preview, stop to idle; stalls of the window; steps per second.

    xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/interactive.py [--out interactive.json]

A real viewer with the shipped superalloy micrograph (512 x 512 visible), six simulated strokes a class, a real worker.
While training is measured, a timer paints on the strokes layer as a hand would. Rounds with training, rounds in which
the same viewer is only given the same layers, and rounds in which the same training runs in a napari ``thread_worker`` in
the same viewer alternate, all painted on in the same way, since times are noisy: percentiles are those of all gaps of a
kind, the longest stall is the median of the rounds' longest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("NAPARI_FEWSHOT_HOME", tempfile.mkdtemp(prefix="fewshot-bench-"))

import napari
from qtpy.QtCore import QEventLoop, QObject, QTimer, Signal

from napari_fewshot.core.simulate import simulate_strokes
from napari_fewshot.samples import image, truth

N_STROKES = 6
STROKE_S = 0.5
WAIT_S = 120.0


def labels_to_paint() -> np.ndarray:
    """(Y, X) classes of the sample that is painted on."""
    return np.asarray(truth("superalloy"))


def wait_until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> float:
    """Run the event loop until ``condition`` holds; seconds it took."""
    loop, began = QEventLoop(), time.perf_counter()
    timer = QTimer()
    timer.timeout.connect(lambda: loop.quit() if condition() else None)
    timer.start(2)
    QTimer.singleShot(int(1000 * timeout_s), loop.quit)
    loop.exec()
    timer.stop()
    if not condition():
        raise TimeoutError("nothing happened in time: " + (bench_status() or ""))
    return time.perf_counter() - began


def bench_status() -> str:
    """What the dock says."""
    viewer = napari.current_viewer()
    return viewer.window._qt_window.findChild(QObject, "status").text() if viewer else ""


def pass_time(seconds: float) -> None:
    loop = QEventLoop()
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()


@dataclass
class Stalls(QObject):
    """Gaps between ticks of a timer that should tick every 2 ms: how long the window did not answer."""

    gaps_ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.last = time.perf_counter()
        self.timer = QTimer(self)
        self.timer.timeout.connect(self._tick)
        self.timer.start(2)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps_ms.append(1000 * (now - self.last))
        self.last = now

    def end(self) -> list[float]:
        self.timer.stop()
        return self.gaps_ms


def summed_up(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Rounds of one kind as one: all gaps together, the longest of each round, sums and means of the rest."""
    gaps = [r.pop("gaps_ms") for r in rounds]
    longest = [max(g) for g in gaps]
    stalls = {
        "p50_ms": float(np.median(np.concatenate(gaps))),
        "p99.9_ms": float(np.percentile(np.concatenate(gaps), 99.9)),
        "longest_ms": float(np.median(longest)),
        "longest_of_each_round_ms": longest,
    }
    mean = {key: float(np.mean([r[key] for r in rounds])) for key in rounds[0] if key != "dabs"}
    return {"stalls": stalls, "dabs": sum(r["dabs"] for r in rounds), **mean}


class Hand(QObject):
    """Paints a wandering stroke, a dab every 16 ms, and lifts the brush after every 60 dabs.

    Each seed wanders elsewhere: what is painted alike already costs the viewer nothing.
    """

    def __init__(self, labels: Any, seed: int) -> None:
        super().__init__()
        self.labels, self.rng, self.n = labels, np.random.default_rng(seed), 0
        self.truth = labels_to_paint()
        self.at, self.angle = np.array([256.0, 256.0]), 0.0
        self.timer = QTimer(self)
        self.timer.timeout.connect(self._dab)

    def start(self) -> None:
        self.timer.start(16)

    def stop(self) -> None:
        self.timer.stop()

    def _dab(self) -> None:
        self.n += 1
        if self.n % 60 == 0:
            self.at = self.rng.uniform(20, 490, 2)
        self.angle += self.rng.normal(0, 0.3)
        self.at = np.clip(self.at + 2 * np.array([np.sin(self.angle), np.cos(self.angle)]), 5, 505)
        label = int(self.truth[int(self.at[0]), int(self.at[1])]) if self.n % 3 else 0
        if label:
            self.labels.paint(tuple(self.at), label)


class Shown(QObject):
    """Carries a preview from a thread to the viewer."""

    came = Signal(object)


class Bench:
    """The viewer with the dock, a real image and strokes."""

    def __init__(self) -> None:
        self.viewer = napari.Viewer()
        self.viewer.add_image(image("superalloy"), name="superalloy")
        pass_time(0.5)
        began = time.perf_counter()
        _, self.dock = self.viewer.window.add_plugin_dock_widget("napari-fewshot", "Few-shot")
        pass_time(0)
        self.open_s = time.perf_counter() - began
        self.has_torch = "torch" in sys.modules
        pass_time(1.0)
        self.viewer.reset_view()  # the dock took a part of the width: all 512 x 512 pixels visible

    def child(self, name: str) -> Any:
        return self.dock.findChild(QObject, name)

    def previews(self) -> list[Any]:
        return [layer for layer in self.viewer.layers if layer.name.startswith("preview")]

    def paint(self, n: int = N_STROKES, seed: int = 0) -> Any:
        if not any(layer.name.endswith("strokes") for layer in self.viewer.layers):
            self.child("new_strokes").click()
            self.child("add_class").click()
        labels = self.child("labels_layer").layer
        for j in range(1, n + 1):  # one stroke of each class after the other, faster than any hand
            strokes = simulate_strokes(labels_to_paint(), j, seed)
            at = np.nonzero(strokes)
            labels.data_setitem(at, strokes[at].astype(labels.data.dtype))
            pass_time(STROKE_S)
        return labels

    def is_idle(self) -> bool:
        return not self.child("stop").isEnabled()

    def fine_tune(self) -> float:
        """Click, and wait for the first preview."""
        for layer in self.previews():
            self.viewer.layers.remove(layer)
        self.child("fine_tune").click()
        return wait_until(lambda: bool(self.previews()))

    def stop(self) -> float:
        self.child("stop").click()
        return wait_until(self.is_idle)


def click_to_preview(bench: Bench, n: int) -> dict[str, list[float]]:
    preview_s, stop_s = [], []
    for _ in range(n):
        bench.child("model").setCurrentText("em-segment")
        preview_s.append(bench.fine_tune())
        pass_time(2.5)
        stop_s.append(bench.stop())
        pass_time(0.3)
    return {"click_to_preview_s": preview_s, "stop_to_idle_s": stop_s}


def stroke_to_preview(bench: Bench, labels: Any, n: int) -> list[float]:
    """Live: one more stroke each time, until the preview is given the next answer."""
    bench.child("model").setCurrentText("em-segment")
    seconds: list[float] = []
    done: list[float] = []
    trainer = bench.dock._trainer
    trainer.live.refitted.connect(lambda: done.append(time.perf_counter()))
    bench.child("live").click()
    wait_until(lambda: bool(done) and bool(bench.previews()))
    pass_time(1.0)
    shown: list[float] = []
    bench.previews()[0].events.set_data.connect(lambda event: shown.append(time.perf_counter()))
    for seed in range(1, n + 1):
        strokes = simulate_strokes(labels_to_paint(), 1, seed)
        strokes[strokes != 1 + seed % 3] = 0
        at = np.nonzero(strokes)
        done.clear()
        shown.clear()
        began = time.perf_counter()
        labels.data_setitem(at, strokes[at].astype(labels.data.dtype))
        wait_until(lambda: bool(shown))
        seconds.append(time.perf_counter() - began)
        wait_until(lambda: bool(done))
        pass_time(0.3)
    bench.child("live").click()
    wait_until(bench.is_idle)
    pass_time(1.0)
    return seconds


def training_steps(bench: Bench) -> list[float]:
    """Times at which the dock heard of a step."""
    times: list[float] = []
    work = bench.dock._trainer.work
    work.progressed.connect(lambda event: times.append(event.done))
    return times


def while_training(bench: Bench, labels: Any, seconds: float, seed: int) -> dict[str, Any]:
    """Train in the worker and paint meanwhile: stalls, steps per second, and the previews that came."""
    bench.child("model").setCurrentText("em-segment")
    bench.fine_tune()
    steps, seen = training_steps(bench), []
    bench.dock._trainer.work.previewed.connect(lambda event: seen.append(time.perf_counter()))
    hand, stalls = Hand(labels, seed), Stalls()
    hand.start()
    pass_time(seconds)
    hand.stop()
    result: dict[str, Any] = {"gaps_ms": stalls.end(), "dabs": hand.n, "n_previews": len(seen) + 1}
    result["steps_per_s"] = (steps[-1] - steps[0]) / seconds if len(steps) > 1 else 0.0
    bench.stop()
    pass_time(1.0)
    return result


def without_training(bench: Bench, labels: Any, seconds: float, seed: int, n_previews: int) -> dict[str, Any]:
    """The same viewer given the same layers by a timer: a labels layer, then as many new answers, painted on alike."""
    for layer in bench.previews():
        bench.viewer.layers.remove(layer)
    pass_time(0.5)
    answers = [np.roll(labels_to_paint(), 5 * i, 0) for i in range(8)]
    hand, stalls = Hand(labels, seed), Stalls()
    hand.start()
    layer = bench.viewer.add_labels(answers[0].copy(), name="given")
    given = [1]

    def give() -> None:
        layer.data = answers[given[0] % len(answers)].copy()
        given[0] += 1

    timer = QTimer()
    timer.timeout.connect(give)
    timer.start(int(1000 * seconds / max(1, n_previews)))
    pass_time(seconds)
    timer.stop()
    hand.stop()
    bench.viewer.layers.remove(layer)
    return {"gaps_ms": stalls.end(), "dabs": hand.n}


def only_painting(bench: Bench, labels: Any, seconds: float, seed: int) -> dict[str, Any]:
    """Nothing trains and no layer is given: what painting alone costs this viewer on this machine."""
    hand, stalls = Hand(labels, seed), Stalls()
    hand.start()
    pass_time(seconds)
    hand.stop()
    return {"gaps_ms": stalls.end(), "dabs": hand.n}


def in_thread(bench: Bench, labels: Any, seconds: float, seed: int) -> dict[str, Any]:
    """The same training in a thread of the viewer's process, as most plugins run it."""
    import torch
    from napari.qt.threading import thread_worker

    from napari_fewshot.core.intensity import Intensity, key_of
    from napari_fewshot.core.job import Budget, View
    from napari_fewshot.core.shelf import Shelf
    from napari_fewshot.core.strokes import painting_of
    from napari_fewshot.engine.device import use_threads
    from napari_fewshot.engine.fine_tune import fine_tune_segment
    from napari_fewshot.engine.generator import Generator
    from napari_fewshot.engine.listen import Silent

    use_threads()
    times: list[float] = []

    picture = image("superalloy")
    preview = bench.viewer.add_labels(labels_to_paint().copy(), name="thread")
    shown = Shown()
    shown.came.connect(lambda values: setattr(preview, "data", values))

    class Listener(Silent):
        """Asks for new strokes and previews just as the worker's does."""

        def painting(self) -> Any:
            return painting_of([picture], [np.array(labels.data)])

        def view(self) -> View:
            intensity = Intensity.measure(picture)
            return View((), (0, 0), picture, intensity, key_of(picture, intensity))

        def preview(self, view: View, values: np.ndarray, factor: int, confidence: Any) -> None:
            shown.came.emit(values)

        def progress(self, done: int, total: Any, seconds: float, left: Any, losses: Any, score: Any) -> None:
            times.append(time.perf_counter())

    generator = Generator.from_file(Shelf().read("em-segment"))
    painting = painting_of([picture], [np.asarray(labels.data)])

    @thread_worker
    def train() -> None:
        fine_tune_segment(generator, painting, Budget(seconds=seconds + 1), listener=Listener())

    worker = train()
    worker.start()
    wait_until(lambda: len(times) > 0)
    hand, stalls = Hand(labels, seed), Stalls()
    began, n = time.perf_counter(), len(times)
    hand.start()
    pass_time(seconds - 1)
    hand.stop()
    result = {
        "gaps_ms": stalls.end(),
        "dabs": hand.n,
        "steps_per_s": (len(times) - n) / (time.perf_counter() - began),
        "threads": torch.get_num_threads(),
    }
    wait_until(lambda: not worker.is_running)
    bench.viewer.layers.remove(preview)
    return result


def summary(seconds: list[float]) -> str:
    return f"median {np.median(seconds):.2f} s, longest {max(seconds):.2f} s (n={len(seconds)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--painting-rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    bench = Bench()
    result: dict[str, Any] = {"dock_opens_s": bench.open_s, "torch_in_gui_process": bench.has_torch}
    result["worker_ready_s"] = wait_until(lambda: bench.dock._bridge.state == "ready")
    pass_time(2.0)
    labels = bench.paint()
    result |= click_to_preview(bench, args.rounds)
    result["stroke_to_preview_s"] = stroke_to_preview(bench, labels, args.rounds)
    training, idle, thread = [], [], []
    for n in range(args.painting_rounds):
        training.append(while_training(bench, labels, args.seconds, 3 * n))
        idle.append(without_training(bench, labels, args.seconds, 3 * n + 1, training[-1]["n_previews"]))
        thread.append(in_thread(bench, labels, args.seconds, 3 * n + 2))
    result["training"], result["no_training"], result["thread"] = map(summed_up, (training, idle, thread))
    result["painting"] = summed_up([only_painting(bench, labels, args.seconds, 3 * args.painting_rounds)])
    show(result)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    bench.viewer.close()


def show(result: dict[str, Any]) -> None:
    training, idle, thread = result["training"], result["no_training"], result["thread"]
    phases = {"training": training, "given layers": idle, "painting alone": result["painting"], "thread_worker": thread}
    print(
        f"dock opens in {result['dock_opens_s']:.2f} s; torch in the viewer's process: {result['torch_in_gui_process']}"
    )
    print(f"worker ready {result['worker_ready_s']:.1f} s later")
    print(f"click to first preview: {summary(result['click_to_preview_s'])}")
    print(f"stroke to updated preview in Live: {summary(result['stroke_to_preview_s'])}")
    print(f"stop to idle: {summary(result['stop_to_idle_s'])}")
    for name, phase in phases.items():
        stalls = phase["stalls"]
        print(
            f"stalls, {name}: median {stalls['p50_ms']:.0f} ms, 99.9th percentile {stalls['p99.9_ms']:.0f} ms, "
            f"longest {stalls['longest_ms']:.0f} ms ({phase['dabs']} dabs)"
        )
    longest = training["stalls"]["longest_ms"] / idle["stalls"]["longest_ms"]
    print(f"longest stall, training over given layers: {longest:.2f}")
    ratio = training["steps_per_s"] / max(1e-9, thread["steps_per_s"])
    print(
        f"steps per second while painting: {training['steps_per_s']:.2f}, in a thread {thread['steps_per_s']:.2f}, ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
