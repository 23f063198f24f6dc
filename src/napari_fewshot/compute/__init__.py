"""Where work runs: events, jobs, the dask cluster and its client. No Qt, and no torch outside the worker process."""
