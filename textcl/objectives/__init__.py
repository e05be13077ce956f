"""Objectives: one file each, every one a module from embeddings to a loss."""
