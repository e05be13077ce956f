"""One training run, from a request to a run folder."""
