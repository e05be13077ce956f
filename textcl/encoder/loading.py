"""What a model folder, or a name on the hub, gives to an encoder: its parts, read and checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textcl.encoder.backbone import check_vocabulary, load_backbone, load_tokenizer, longest_row
from textcl.encoder.dense import check_widths, load_dense
from textcl.encoder.folder import Description, Parity
from textcl.encoder.folder_reading import describe, lowercase, read_parity
from textcl.encoder.hub import find_model

_log = logging.getLogger("textcl")


@dataclass(frozen=True)
class Parts:
    """The parts of an encoder.

    Args:
        folder: Where they come from.
        described: What the folder says.
        backbone: HuggingFace text encoder.
        tokenizer: Its tokenizer.
        pooling: The pooling asked for, else that of the folder.
        max_length: The length asked for, else that of the folder, else what the backbone takes.
        dense: Layers behind the pooling.
        parity: Texts and vectors that were saved with the model, if any.
    """

    folder: Path
    described: Description
    backbone: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: str
    max_length: int
    dense: Sequence[nn.Sequential]
    parity: Parity | None


def load_parts(
    name_or_path: str | Path,
    *,
    pooling: str | None,
    default_pooling: str,
    max_length: int | None,
    num_layers: int | None,
    dropout: float | None,
    revision: str | None,
    trust_remote_code: bool,
) -> Parts:
    """Read and check everything that `Encoder.from_pretrained` puts together; arguments and errors are its own."""
    folder = find_model(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
    described = describe(folder)
    for note in described.notes:
        _log.warning(note)
    if pooling is None and described.pooling is None:
        _log.warning(
            "%s is a checkpoint of transformers, which names no pooling: taking %r",
            folder,
            default_pooling,
        )
    pooling = pooling or described.pooling or default_pooling
    backbone = load_backbone(
        described.transformer,
        num_layers=num_layers,
        dropout=dropout,
        pooler=pooling == "cls_pooler",
        trust_remote_code=trust_remote_code,
    )
    check_widths(described, int(backbone.config.hidden_size))
    tokenizer = load_tokenizer(described.transformer, trust_remote_code=trust_remote_code)
    check_vocabulary(backbone, tokenizer, folder)
    if described.lowercase:
        lowercase(tokenizer)
    longest = longest_row(backbone, tokenizer)
    return Parts(
        folder,
        described,
        backbone,
        tokenizer,
        pooling=pooling,
        max_length=max_length or min(described.max_length or longest, longest),
        dense=[load_dense(path) for path in described.dense],
        parity=read_parity(folder),
    )
