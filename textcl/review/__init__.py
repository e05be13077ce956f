"""Labels that may be wrong, classes that look alike, and equal texts with different labels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
