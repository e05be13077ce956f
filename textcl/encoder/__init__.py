"""Texts to vectors: the encoder around a HuggingFace model, its folders and its inference."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
