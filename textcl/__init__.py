"""textcl: contrastive learning for text, from raw sentences to a measured encoder or classifier.

The names are loaded when they are first used, so that `import textcl` is instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textcl.backprop import FullBatch as FullBatch
    from textcl.backprop import GradCache as GradCache
    from textcl.backprop import backprop_for as backprop_for
    from textcl.benchmarks import evaluate as evaluate
    from textcl.contrast import AllViews as AllViews
    from textcl.contrast import AnchorPositive as AnchorPositive
    from textcl.contrast import Contrast as Contrast
    from textcl.contrast import KeepHardest as KeepHardest
    from textcl.contrast import MaskDuplicates as MaskDuplicates
    from textcl.data import load_rows as load_rows
    from textcl.distributed import ALONE as ALONE
    from textcl.distributed import World as World
    from textcl.embedder import Embedder as Embedder
    from textcl.embedder import Route as Route
    from textcl.encoder import Encoder as Encoder
    from textcl.errors import RunError as RunError
    from textcl.errors import UserError as UserError
    from textcl.hooks import Hook as Hook
    from textcl.hooks import MoveSchedules as MoveSchedules
    from textcl.method import Method as Method
    from textcl.objectives.combine import WeightedSum as WeightedSum
    from textcl.objectives.contrastive import Contrastive as Contrastive
    from textcl.objectives.temperature import as_temperature as as_temperature
    from textcl.session import train as train
    from textcl.settings import TrainSettings as TrainSettings
    from textcl.types import Batch as Batch
    from textcl.types import Embeddings as Embeddings
    from textcl.types import LossOutput as LossOutput
    from textcl.types import Tokens as Tokens
    from textcl.views import View as View

_PLACES = {
    "textcl.backprop": ("FullBatch", "GradCache", "backprop_for"),
    "textcl.benchmarks": ("evaluate",),
    "textcl.contrast": ("AllViews", "AnchorPositive", "Contrast", "KeepHardest", "MaskDuplicates"),
    "textcl.data": ("load_rows",),
    "textcl.distributed": ("ALONE", "World"),
    "textcl.embedder": ("Embedder", "Route"),
    "textcl.encoder": ("Encoder",),
    "textcl.errors": ("RunError", "UserError"),
    "textcl.hooks": ("Hook", "MoveSchedules"),
    "textcl.method": ("Method",),
    "textcl.objectives.combine": ("WeightedSum",),
    "textcl.objectives.contrastive": ("Contrastive",),
    "textcl.objectives.temperature": ("as_temperature",),
    "textcl.session": ("train",),
    "textcl.settings": ("TrainSettings",),
    "textcl.types": ("Batch", "Embeddings", "LossOutput", "Tokens"),
    "textcl.views": ("View",),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'textcl' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
