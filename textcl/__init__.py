"""textcl: contrastive learning for text, from raw sentences to a measured encoder or classifier.

The names are loaded when they are first used, so that `import textcl` is instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textcl.classifier.calibration import calibrate as calibrate
    from textcl.classifier.classifier import Classifier as Classifier
    from textcl.classifier.estimator import TextClassifier as TextClassifier
    from textcl.classifier.head import ClassificationHead as ClassificationHead
    from textcl.classifier.head import make_head as make_head
    from textcl.classifier.supervision import ClassifierSettings as ClassifierSettings
    from textcl.contrast.clustering import KMeansClusters as KMeansClusters
    from textcl.contrast.draws import BetaMix as BetaMix
    from textcl.contrast.draws import Subset as Subset
    from textcl.contrast.mixing import ExtrapolatePositives as ExtrapolatePositives
    from textcl.contrast.mixing import InterpolateBatch as InterpolateBatch
    from textcl.contrast.mixing import InterpolateQueue as InterpolateQueue
    from textcl.contrast.mixing import MixAnchors as MixAnchors
    from textcl.contrast.pairings import AllViews as AllViews
    from textcl.contrast.pairings import AnchorPositive as AnchorPositive
    from textcl.contrast.prototypes import Clusters as Clusters
    from textcl.contrast.prototypes import Prototypes as Prototypes
    from textcl.contrast.queue import AppendQueue as AppendQueue
    from textcl.contrast.queue import MemoryQueue as MemoryQueue
    from textcl.contrast.row_losses import EachPair as EachPair
    from textcl.contrast.row_losses import negatives_only as negatives_only
    from textcl.contrast.row_losses import positives_only as positives_only
    from textcl.contrast.soft_targets import SoftQueueTargets as SoftQueueTargets
    from textcl.contrast.table import Contrast as Contrast
    from textcl.contrast.temperature import as_temperature as as_temperature
    from textcl.contrast.transforms import KeepHardest as KeepHardest
    from textcl.contrast.transforms import MaskDuplicates as MaskDuplicates
    from textcl.contrast.transforms import only_own_positive as only_own_positive
    from textcl.data.rows import load_rows as load_rows
    from textcl.distributed import ALONE as ALONE
    from textcl.distributed import World as World
    from textcl.encoder.encoder import Encoder as Encoder
    from textcl.encoder.masked_tokens import MaskedTokenLoss as MaskedTokenLoss
    from textcl.encoder.momentum import CosineMomentum as CosineMomentum
    from textcl.encoder.momentum import FrozenEncoder as FrozenEncoder
    from textcl.encoder.momentum import MomentumEncoder as MomentumEncoder
    from textcl.encoder.packing.drophead import install_drophead as install_drophead
    from textcl.errors import RunError as RunError
    from textcl.errors import UserError as UserError
    from textcl.evaluation.benchmarks import evaluate as evaluate
    from textcl.export.exported import ExportedEncoder as ExportedEncoder
    from textcl.export.write import export_encoder as export_encoder
    from textcl.method.backprop import FullBatch as FullBatch
    from textcl.method.backprop import GradCache as GradCache
    from textcl.method.backprop import backprop_for as backprop_for
    from textcl.method.hooks import Enqueue as Enqueue
    from textcl.method.hooks import FromEpoch as FromEpoch
    from textcl.method.hooks import Hook as Hook
    from textcl.method.hooks import MoveMomentum as MoveMomentum
    from textcl.method.hooks import MoveSchedules as MoveSchedules
    from textcl.method.hooks import Recluster as Recluster
    from textcl.method.method import Method as Method
    from textcl.method.routes import Embedder as Embedder
    from textcl.method.routes import Route as Route
    from textcl.objectives.byol import Byol as Byol
    from textcl.objectives.byol import Predictor as Predictor
    from textcl.objectives.byol import SimSiam as SimSiam
    from textcl.objectives.combine import Alternate as Alternate
    from textcl.objectives.combine import Projected as Projected
    from textcl.objectives.combine import WeightedSum as WeightedSum
    from textcl.objectives.combine import mlp as mlp
    from textcl.objectives.contrastive import Contrastive as Contrastive
    from textcl.objectives.contrastive import nt_xent as nt_xent
    from textcl.objectives.contrastive import sup_con as sup_con
    from textcl.objectives.cross_entropy import CrossEntropy as CrossEntropy
    from textcl.objectives.distillation import DistillEmbeddings as DistillEmbeddings
    from textcl.objectives.distillation import DistillSimilarity as DistillSimilarity
    from textcl.objectives.hard_negative import Annealed as Annealed
    from textcl.objectives.hard_negative import HardNegative as HardNegative
    from textcl.objectives.label_aware import LabelAware as LabelAware
    from textcl.objectives.matryoshka import Matryoshka as Matryoshka
    from textcl.objectives.nt_xent_pairs import nt_xent_pairs as nt_xent_pairs
    from textcl.objectives.proto_nce import ProtoNce as ProtoNce
    from textcl.objectives.ranking import angle as angle
    from textcl.objectives.ranking import cosent as cosent
    from textcl.objectives.ratio import RatioOfSums as RatioOfSums
    from textcl.objectives.simple import simple as simple
    from textcl.objectives.soft_byol import SoftByol as SoftByol
    from textcl.training.session import train as train
    from textcl.training.settings import TrainSettings as TrainSettings
    from textcl.types import Batch as Batch
    from textcl.types import Embeddings as Embeddings
    from textcl.types import LossOutput as LossOutput
    from textcl.types import Tokens as Tokens
    from textcl.views.augmentations import Crop as Crop
    from textcl.views.augmentations import DeleteOneWord as DeleteOneWord
    from textcl.views.augmentations import DeleteWords as DeleteWords
    from textcl.views.augmentations import RandomString as RandomString
    from textcl.views.augmentations import RepeatWords as RepeatWords
    from textcl.views.augmentations import SpanMask as SpanMask
    from textcl.views.cutoff import CutFeatures as CutFeatures
    from textcl.views.cutoff import CutSpan as CutSpan
    from textcl.views.cutoff import CutTokens as CutTokens
    from textcl.views.cutoff import ShufflePositions as ShufflePositions
    from textcl.views.named import second_view as second_view
    from textcl.views.view import View as View

_PLACES = {
    "textcl.views.augmentations": (
        "Crop",
        "DeleteOneWord",
        "DeleteWords",
        "RandomString",
        "RepeatWords",
        "SpanMask",
    ),
    "textcl.method.backprop": (
        "FullBatch",
        "GradCache",
        "backprop_for",
    ),
    "textcl.evaluation.benchmarks": ("evaluate",),
    "textcl.classifier.calibration": ("calibrate",),
    "textcl.classifier.supervision": ("ClassifierSettings",),
    "textcl.classifier.classifier": ("Classifier",),
    "textcl.contrast.table": (
        "AllViews",
        "AnchorPositive",
        "Contrast",
        "KeepHardest",
        "MaskDuplicates",
        "only_own_positive",
    ),
    "textcl.data.rows": ("load_rows",),
    "textcl.distributed": (
        "ALONE",
        "World",
    ),
    "textcl.encoder.encoder.packing.drophead": ("install_drophead",),
    "textcl.method.routes": (
        "Embedder",
        "Route",
    ),
    "textcl.encoder.encoder": ("Encoder",),
    "textcl.export.write": ("export_encoder",),
    "textcl.export.exported": ("ExportedEncoder",),
    "textcl.errors": (
        "RunError",
        "UserError",
    ),
    "textcl.classifier.estimator": ("TextClassifier",),
    "textcl.classifier.head": (
        "ClassificationHead",
        "make_head",
    ),
    "textcl.method.hooks": (
        "Enqueue",
        "FromEpoch",
        "Hook",
        "MoveMomentum",
        "MoveSchedules",
        "Recluster",
    ),
    "textcl.contrast.queue": (
        "AppendQueue",
        "Clusters",
        "MemoryQueue",
        "Prototypes",
    ),
    "textcl.method.method": ("Method",),
    "textcl.encoder.masked_tokens": ("MaskedTokenLoss",),
    "textcl.encoder.momentum": (
        "CosineMomentum",
        "FrozenEncoder",
        "MomentumEncoder",
    ),
    "textcl.views.named": ("second_view",),
    "textcl.objectives.byol": (
        "Byol",
        "Predictor",
        "SimSiam",
    ),
    "textcl.objectives.combine": (
        "Alternate",
        "Projected",
        "WeightedSum",
        "mlp",
    ),
    "textcl.objectives.contrastive": (
        "Contrastive",
        "nt_xent",
        "sup_con",
    ),
    "textcl.objectives.cross_entropy": ("CrossEntropy",),
    "textcl.objectives.distillation": (
        "DistillEmbeddings",
        "DistillSimilarity",
    ),
    "textcl.contrast.draws": (
        "BetaMix",
        "Subset",
    ),
    "textcl.contrast.mixing": (
        "ExtrapolatePositives",
        "InterpolateBatch",
        "InterpolateQueue",
    ),
    "textcl.objectives.hard_negative": (
        "Annealed",
        "HardNegative",
    ),
    "textcl.objectives.label_aware": ("LabelAware",),
    "textcl.objectives.matryoshka": ("Matryoshka",),
    "textcl.contrast.mixing": ("MixAnchors",),
    "textcl.objectives.nt_xent_pairs": (
        "EachPair",
        "nt_xent_pairs",
    ),
    "textcl.objectives.proto_nce": (
        "KMeansClusters",
        "ProtoNce",
    ),
    "textcl.objectives.ranking": (
        "angle",
        "cosent",
    ),
    "textcl.objectives.ratio": ("RatioOfSums",),
    "textcl.objectives.simple": (
        "negatives_only",
        "positives_only",
        "simple",
    ),
    "textcl.contrast.soft_targets": (
        "SoftByol",
        "SoftQueueTargets",
    ),
    "textcl.contrast.temperature": ("as_temperature",),
    "textcl.training.session": ("train",),
    "textcl.training.settings": ("TrainSettings",),
    "textcl.views.cutoff": (
        "CutFeatures",
        "CutSpan",
        "CutTokens",
        "ShufflePositions",
    ),
    "textcl.types": (
        "Batch",
        "Embeddings",
        "LossOutput",
        "Tokens",
    ),
    "textcl.views.view": ("View",),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'textcl' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
