"""Qt and napari: layers, the bridge to the worker, docks. Imports core, tasks and compute, never torch or engine."""
