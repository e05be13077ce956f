"""Parts of an encoder, read from a model folder or a name on the hub and checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textcl.encoder.adapter import CONFIG_FILE, AdapterFolder, AdapterSpec, add_adapter
from textcl.encoder.backbone import (
    check_backbone,
    check_vocabulary,
    has_tokenizer,
    load_backbone,
    load_tokenizer,
    longest_row,
)
from textcl.encoder.decoders import check_sees_text, usual_pooling
from textcl.encoder.dense import check_widths, load_dense
from textcl.encoder.folder import ST_LAYER_MEANS, Description
from textcl.encoder.folder_reading import lowercase, read_description, read_parity
from textcl.encoder.hub import find_model
from textcl.encoder.parity import Parity
from textcl.encoder.static import drop_unknown, load_static
from textcl.errors import UserError

_log = logging.getLogger("textcl")


@dataclass(frozen=True)
class EncoderParts:
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
    bidirectional: bool | None,
    weights: str,
    adapter: str | None,
    revision: str | None,
    trust_remote_code: bool,
) -> EncoderParts:
    """Read and check everything that `Encoder.from_pretrained` puts together; arguments and errors are its own."""
    spec = AdapterSpec.parse(adapter) if adapter else None
    folder = find_model(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
    described, base, saved = _resolve(folder)
    for note in described.notes:
        _log.warning(note)
    if described.static:
        asked = {"num_layers": num_layers, "dropout": dropout, "adapter": adapter}
        asked["bidirectional"] = bidirectional
        if pooling not in (None, "mean"):
            asked["pooling"] = pooling
        return _static_parts(folder, described, max_length, asked)
    pooling = pooling or described.pooling
    if spec or saved:
        _check_base(pooling, num_layers, bidirectional)
    backbone = load_backbone(
        base,
        num_layers=num_layers,
        dropout=dropout,
        bidirectional=bidirectional,
        weights=weights,
        pooler=pooling == "cls_pooler",
        trust_remote_code=trust_remote_code,
    )
    if pooling is None:
        pooling = usual_pooling(backbone, default_pooling)
        _log.warning(
            "%s is a checkpoint of transformers, which names no pooling: taking %r", folder, pooling
        )
    check_sees_text(backbone, pooling)
    if saved:
        saved.attach(backbone)
    if spec:
        add_adapter(backbone, spec, *_reference(name_or_path, revision, folder, base))
    check_widths(described, int(backbone.config.hidden_size))
    tokenizer = load_tokenizer(
        described.transformer if has_tokenizer(described.transformer) else base,
        trust_remote_code=trust_remote_code,
    )
    check_vocabulary(backbone, tokenizer, folder)
    if described.lowercase:
        lowercase(tokenizer)
    longest = longest_row(backbone, tokenizer)
    return EncoderParts(
        folder,
        described,
        backbone,
        tokenizer,
        pooling=pooling,
        max_length=max_length or min(described.max_length or longest, longest),
        dense=[load_dense(path) for path in described.dense],
        parity=read_parity(folder),
    )


def is_static_model(name_or_path: str | Path) -> bool:
    """Whether a model folder, or a name on the hub, is a static model; weights are not read, only their names.

    Raises:
        UserError: If there is no such model, or its files are missing or damaged.
    """
    described, base, _ = _resolve(find_model(name_or_path))
    if not described.static:
        check_backbone(base)
    return bool(described.static)


def _static_parts(
    folder: Path, described: Description, max_length: int | None, asked: Mapping[str, object]
) -> EncoderParts:
    """The parts of a static model, which has no layers that a setting could change."""
    for name, value in asked.items():
        if value is not None:
            raise UserError(
                f"{name}={value} does not fit {folder}: a static model is the mean of token vectors and has no layers"
            )
    backbone, tokenizer = load_static(described.transformer)
    check_widths(described, int(backbone.config.hidden_size))
    check_vocabulary(backbone, tokenizer, folder)
    if described.drops_unknown:
        drop_unknown(backbone, tokenizer)
    longest = tokenizer.model_max_length
    return EncoderParts(
        folder,
        described,
        backbone,
        tokenizer,
        pooling="mean",
        max_length=max_length or min(described.max_length or longest, longest),
        dense=[load_dense(path) for path in described.dense],
        parity=read_parity(folder),
    )


def _check_base(pooling: str | None, num_layers: int | None, bidirectional: bool | None) -> None:
    """Refuse what the configuration of a base would have to say, which an adapter does not change."""
    asked = {
        "cut layers are": num_layers is not None,
        "bidirectional=true is": bool(bidirectional),
        "bidirectional=false is": bidirectional is False,
        f"pooling {pooling!r} is": pooling in ST_LAYER_MEANS,
    }
    for what, given in asked.items():
        if given:
            raise UserError(
                f"{what} not stored in an adapter, whose base is unchanged: first save such a model with "
                "Encoder.from_pretrained(…).save_pretrained(…), and start from it"
            )


def _resolve(folder: Path) -> tuple[Description, Path, AdapterFolder | None]:
    """Description of a folder, the folder of its weights, and its adapter.

    The folder of an adapter that peft alone wrote says nothing of pooling and prompts: these are those of its base.
    """
    described = read_description(folder)
    if not (described.transformer / CONFIG_FILE).is_file():
        return described, described.transformer, None
    adapter = AdapterFolder.read(described.transformer)
    try:
        base = read_description(find_model(adapter.base, revision=adapter.revision))
    except UserError as error:
        raise UserError(
            f"the adapter in {folder} needs its base {adapter.base}: {error}"
        ) from error
    whole = described if described.pooling else replace(base, transformer=folder)
    return whole, base.transformer, adapter


def _reference(
    name: str | Path, revision: str | None, folder: Path, weights: Path
) -> tuple[str, str | None]:
    """Name and revision by which an adapter finds its base again."""
    if Path(name).expanduser().is_dir():
        return str(weights.absolute()), None
    fetched = folder.parent.name == "snapshots"  # named by the commit in the cache of the hub
    return str(name), folder.name if fetched else revision
