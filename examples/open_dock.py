"""Open napari on a micrograph with the dock; paint, fine-tune, apply. No guard is needed around the viewer.

python examples/open_dock.py [SECONDS_UNTIL_IT_CLOSES]
"""

import sys

import napari
from qtpy.QtCore import QTimer

viewer = napari.Viewer()
viewer.open_sample("napari-fewshot", "superalloy")
viewer.window.add_plugin_dock_widget("napari-fewshot", "Few-shot")

if len(sys.argv) > 1:
    QTimer.singleShot(int(float(sys.argv[1]) * 1000), viewer.close)
napari.run()
print("the viewer is closed")
