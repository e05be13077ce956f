"""One offline page about runs and models."""
