"""Texts to classes: a trained classifier as a value, its labels, calibration and predictions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
