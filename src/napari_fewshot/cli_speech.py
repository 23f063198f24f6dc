"""How the command line tells of events and cards."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from napari_fewshot.compute.events import Event, Note, Progress
from napari_fewshot.core.card import ModelCard
from napari_fewshot.core.restoring import Report, summary


def say(text: object) -> None:
    """Print to standard output; what it cannot spell, as in a name that is no UTF-8, comes as its code."""
    encoding = sys.stdout.encoding or "utf-8"
    print(str(text).encode(encoding, "backslashreplace").decode(encoding))


def show(event: Event) -> None:
    if isinstance(event, Note):
        print(f"\n{event.message}", file=sys.stderr)
    elif isinstance(event, Progress):
        left = "" if event.seconds_left is None else f", {event.seconds_left:.0f} s left"
        total = "" if event.total is None else f"/{event.total}"
        losses = "".join(f", {k} {v:.4g}" for k, v in event.losses.items())
        score = "" if event.score is None else f", score {event.score:.3f}"
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"{event.done}{total}, {event.seconds:.0f} s{left}{losses}{score}", end=end, file=sys.stderr)


def show_note(event: Event) -> None:
    """Only what is said, not how far it is."""
    if isinstance(event, Note):
        show(event)


def say_summary(reports: Sequence[tuple[str, Report]]) -> None:
    """What was found in the planes that were restored, if any were."""
    if reports:
        say(summary(reports))


def describe(card: ModelCard) -> None:
    scores = ", ".join(f"{k} {v:.3g}" for k, v in card.scores.items())
    parent = f"from {card.parent}" if card.parent else "pretrained"
    say(f"{card.name}\t{card.task}\t{card.id}\t{parent}\t{card.created}\t{scores}".rstrip())
