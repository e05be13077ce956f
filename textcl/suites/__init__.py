"""One model on many tasks: retrieval, word lists, names, questions and transfer, each number with its protocol."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
