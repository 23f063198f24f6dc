"""Torch: generators, prediction, fine-tuning, pretraining. Knows neither Qt, napari nor dask."""
