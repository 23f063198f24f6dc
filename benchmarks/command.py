"""What the command lines of benchmarks share: where the data lie, how many threads, where results go. Measures nothing."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def arguments(text: str | None, *outputs: str) -> argparse.ArgumentParser:
    """A parser that knows the folder of data, the threads, and the files ``outputs`` are written to."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    for output in outputs:
        parser.add_argument(f"--{output}", type=Path)
    return parser


def few_strokes(text: str | None) -> argparse.ArgumentParser:
    """The same with what is painted, on which sets, and on how large images; results as JSON and as a table."""
    parser = arguments(text, "out", "table")
    parser.add_argument("--strokes", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--others", type=int, default=2)
    parser.add_argument("--sets", nargs="+", default=())
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; from here on torch uses the threads they name."""
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


def settings(args: argparse.Namespace) -> Mapping[str, Any]:
    """The arguments that decide a result, as JSON takes them; where things lie on this machine does not."""
    return {k: v for k, v in vars(args).items() if v is not None and not isinstance(v, Path)}


def write(results: Any, text: str, out: Path | None, table: Path | None) -> None:
    """Print a table, and write it and what it was made of where that is wanted."""
    print(text)
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n")
    if table:
        table.write_text(text)
