"""Scores with their protocol; knows no encoder and no training."""
