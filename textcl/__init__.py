"""textcl: contrastive learning for text, from raw sentences to a measured encoder or classifier.

The public names stand in the stub beside this file and are loaded when they are first used, so that `import textcl` is
instant.
"""

from difflib import get_close_matches
from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        near = get_close_matches(name, __all__, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise AttributeError(f"module 'textcl' has no attribute {name!r}{hint}", name=name)
    return _load(name)
