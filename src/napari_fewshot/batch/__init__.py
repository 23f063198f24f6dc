"""Applying a model to files larger than memory: formats, folders, provenance. Imports core and compute, no engine, no Qt."""
