"""Views of a row as an encoder sees them: columns, augmentations and changes behind the tokenizer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
