"""The table of anchors and candidates that every softmax reads, and all that changes it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
