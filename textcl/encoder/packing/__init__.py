"""Rows without padding through an unmodified model; skip this folder on a first reading."""
