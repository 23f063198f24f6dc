"""Makes docs/screenshot.png: the dock beside the shipped superalloy micrograph, painted, fine-tuned and applied.

xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/screenshot.py [--out docs/screenshot.png]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ["NAPARI_FEWSHOT_HOME"] = tempfile.mkdtemp(prefix="fewshot-shot-")

from interactive import Bench, pass_time, wait_until

SECONDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/screenshot.png"))
    args = parser.parse_args()
    bench = Bench()
    bench.viewer.window._qt_window.resize(1280, 720)
    wait_until(lambda: bench.dock._bridge.state == "ready")
    bench.paint(4)
    bench.viewer.reset_view()  # in the window's last size
    bench.fine_tune()
    pass_time(SECONDS)
    bench.viewer.screenshot(str(args.out), canvas_only=False, flash=False)
    bench.stop()
    bench.viewer.close()


if __name__ == "__main__":
    main()
