"""The same weights as the sequence classifier of transformers, where the architecture has one of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from textcl.classifier.head import ClassificationHead, own_shape
from textcl.encoder.backbone import quiet

# Where the two layers of the head are.
_LAYERS = {
    "bert": ("bert.pooler.dense", "classifier"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
    "xlm-roberta": ("classifier.dense", "classifier.out_proj"),
    "mpnet": ("classifier.dense", "classifier.out_proj"),
    "electra": ("classifier.dense", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "classifier"),
    "deberta-v2": ("pooler.dense", "classifier"),
}


def why_not(backbone: PreTrainedModel, pooling: str, layers: int, head: ClassificationHead) -> str:
    """The reason why transformers cannot compute the same logits; empty where it can.

    Args:
        backbone: HuggingFace model.
        pooling: Of the encoder.
        layers: How many the encoder has behind its pooling.
        head: Of the classifier.
    """
    kind = backbone.config.model_type
    if kind not in _LAYERS:
        return f"its classifier for {kind} models has another shape"
    if pooling != "cls" or layers:
        return f"its classifiers read the first token, this one the pooling `{pooling}`"
    if head.is_linear:
        return f"its classifier for {kind} models has a hidden layer, this one has none"
    if own_shape(kind).get("activation") != head.shape.activation:
        return (
            f"its classifier for {kind} models has another activation than {head.shape.activation}"
        )
    return ""


def write_sequence_classifier(
    folder: Path,
    backbone: PreTrainedModel,
    head: ClassificationHead,
    classes: Sequence[str],
    multi_label: bool,
) -> None:
    """Replace the model of a folder by the sequence classifier, which still loads as the backbone alone.

    Args:
        folder: Holds the backbone already.
        backbone: HuggingFace model.
        head: Of the classifier; `why_not` says nothing against it.
        classes: Names of the classes.
        multi_label: Whether texts have several.
    """
    config = type(backbone.config).from_dict(backbone.config.to_dict())
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: index for index, name in enumerate(classes)}
    config.problem_type = (
        "multi_label_classification" if multi_label else "single_label_classification"
    )
    with torch.device("meta"):  # weights come from here, and none is drawn
        model = AutoModelForSequenceClassification.from_config(config)
    own = model.state_dict()
    prefix = model.base_model_prefix
    weights = {f"{prefix}.{name}": tensor for name, tensor in backbone.state_dict().items()}
    weights = {name: tensor for name, tensor in weights.items() if name in own}
    for layer, name in zip(_layers(head), _LAYERS[config.model_type], strict=True):
        weights |= _named(layer, name)
    whole = {name: tensor.detach().cpu() for name, tensor in weights.items()}
    model.load_state_dict(whole, strict=True, assign=True)
    with quiet():
        model.save_pretrained(folder)


def _layers(head: ClassificationHead) -> tuple[nn.Linear, nn.Linear]:
    assert isinstance(head.dense, nn.Linear)
    return head.dense, head.output


def _named(layer: nn.Linear, name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
