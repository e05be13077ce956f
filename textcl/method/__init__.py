"""The composition that a recipe builds: views, encoders, routes, objective, hooks and backprop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
