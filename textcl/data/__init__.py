"""Files to rows and rows to files: roles, formats, sources, caching and writing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
