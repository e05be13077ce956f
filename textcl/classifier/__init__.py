"""Texts to classes: a trained classifier as a value, its labels, calibration and predictions."""
