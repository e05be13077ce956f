"""Static models: a text's vector is the mean of its tokens' rows in one table; no layer, no attention, no dropout.

Two libraries write them: sentence-transformers (StaticEmbedding) and model2vec, whose table may be shared by several
tokens (`mapping`) and weighed by token (`weights`). Both are read into one table with a row for each token id, and
written in the layout of sentence-transformers, which model2vec opens, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput

from textcl.data.json_files import JsonObject
from textcl.encoder.weights import read_file_shapes
from textcl.errors import UserError

UNCUT = 10**6
"""Maximum length of a static model that cuts no text."""

_SPECIAL = {
    "unk_token": ("[UNK]", "<unk>"),
    "pad_token": ("[PAD]", "<pad>"),
    "mask_token": ("[MASK]", "<mask>"),
}

_KEYS = ({"embedding.weight"}, {"embeddings"}, {"embeddings", "mapping"})


class StaticConfig(PretrainedConfig):
    """Sizes of a static model; a backbone of no layers."""

    model_type = "static"

    def __init__(self, vocab_size: int = 1, hidden_size: int = 1, **options: Any) -> None:
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, self.initializer_range = 0, 0.02
        super().__init__(**options)


class StaticBackbone(PreTrainedModel):
    """A table of token vectors, as a model of transformers whose hidden states are the rows themselves.

    Args:
        config: Its sizes.
    """

    config_class = StaticConfig

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    @classmethod
    def of(cls, table: Float[Tensor, "V D"]) -> StaticBackbone:
        """A backbone with this table, in eval mode.

        Args:
            table: One row for each token id.
        """
        backbone = cls(StaticConfig(*table.shape))
        backbone.embeddings.weight.data = table.float().contiguous()
        return backbone.eval()

    def get_input_embeddings(self) -> nn.Module:
        """The table."""
        return self.embeddings

    def gradient_checkpointing_enable(self, *_: object, **__: object) -> None:
        """Nothing to recompute."""

    def forward(self, input_ids: Int[Tensor, "B L"], **_: object) -> BaseModelOutput:
        """The rows of the tokens, padding included."""
        states = self.embeddings(input_ids)
        return BaseModelOutput(last_hidden_state=states, hidden_states=(states,))


def is_static(backbone: nn.Module) -> bool:
    """Whether vectors are means over a table."""
    return isinstance(backbone, StaticBackbone)


def load_static(folder: Path) -> tuple[StaticBackbone, PreTrainedTokenizerFast]:
    """The table and the tokenizer of a static model; `model_max_length` of the tokenizer is where texts are cut.

    Args:
        folder: Holds model.safetensors and tokenizer.json.

    Raises:
        UserError: If one is missing or damaged, or they do not belong together.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UserError(
            f"{folder} has no model.safetensors, which holds the table of a static model: textcl opens no pickles"
        )
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder} has no tokenizer: expected tokenizer.json beside the model")
    return StaticBackbone.of(_table(path)), _load_tokenizer(folder / "tokenizer.json")


def static_tokenizer(backend: Tokenizer | str, max_length: int | None) -> PreTrainedTokenizerFast:
    """A tokenizer that adds no special tokens, as static models read texts.

    Args:
        backend: Tokenizer of the library `tokenizers`, or its JSON.
        max_length: Most tokens of a text; no text is cut when None.
    """
    content = json.loads(backend if isinstance(backend, str) else backend.to_str())
    content |= {"truncation": None, "padding": None, "post_processor": None}
    plain = Tokenizer.from_str(json.dumps(content))
    special = {
        role: name
        for role, names in _SPECIAL.items()
        for name in names
        if plain.token_to_id(name) is not None
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, model_max_length=max_length or UNCUT, **special
    )


def drop_unknown(backbone: StaticBackbone, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let the unknown token add nothing to a sum, as model2vec leaves it out of its means.

    Means of texts with unknown tokens become shorter by that, not other in direction.
    """
    unknown = tokenizer.unk_token_id
    if isinstance(unknown, int):
        backbone.embeddings.weight.data[unknown] = 0


def write_static(
    folder: Path,
    backbone: StaticBackbone,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> None:
    """Write the table and the tokenizer of a static model.

    Args:
        folder: A folder without either.
        backbone: Holds the table.
        tokenizer: Of the model.
        max_length: Where texts are cut; not at all from `UNCUT` on.
    """
    table = backbone.embeddings.weight.detach().float().cpu().contiguous()
    save_file({"embedding.weight": table}, folder / "model.safetensors")
    backend: Any = tokenizer.backend_tokenizer  # pyright: ignore[reportAttributeAccessIssue]
    content = json.loads(backend.to_str()) | {"padding": None, "truncation": None}
    plain = Tokenizer.from_str(json.dumps(content))
    if max_length < UNCUT:
        plain.enable_truncation(max_length)
    plain.save(str(folder / "tokenizer.json"))


def _table(path: Path) -> Float[Tensor, "V D"]:
    """One row for each token id, from the file of either library."""
    shapes = read_file_shapes(path)
    if set(shapes) - {"weights"} not in _KEYS or set(shapes) == {"embedding.weight", "weights"}:
        raise UserError(
            f"{path} holds the tensors {', '.join(sorted(shapes)) or 'none'}, not those of a static model: expected "
            "embedding.weight of sentence-transformers, or embeddings of model2vec with mapping and weights"
        )
    ranks = {"embedding.weight": 2, "embeddings": 2, "mapping": 1, "weights": 1}
    for name, shape in shapes.items():
        if len(shape) != ranks[name] or 0 in shape:
            raise UserError(
                f"{name} in {path} has the shape {shape}: expected {ranks[name]} dimensions, none of them 0"
            )
    tensors = load_file(path)
    if "embedding.weight" in tensors:
        return tensors["embedding.weight"]
    return _fold(tensors, path)


def _fold(tensors: Mapping[str, Tensor], path: Path) -> Float[Tensor, "V D"]:
    """Row of token t: embeddings[mapping[t]] · weights[t]."""
    table, mapping, weights = (tensors.get(n) for n in ("embeddings", "mapping", "weights"))
    assert table is not None
    table = table.float()
    if mapping is not None:
        places = mapping.long()
        if int(places.min()) < 0 or int(places.max()) >= len(table):
            raise UserError(
                f"mapping in {path} points to row {int(places.max()):,} of embeddings, which has {len(table):,}"
            )
        table = table[places]
    if weights is None:
        return table
    if len(weights) != len(table):
        raise UserError(f"{path} has {len(weights):,} weights for {len(table):,} tokens")
    return table * weights.float()[:, None]


def _load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    JsonObject.read(path)
    try:
        backend = Tokenizer.from_file(str(path))
        cut: Any = backend.truncation
        tokenizer = static_tokenizer(backend, cut["max_length"] if cut else None)
    except Exception as error:  # every kind of tokenizer fails in its own way
        reason = str(error).strip().splitlines()[:1]
        raise UserError(f"{path} is no tokenizer that can be loaded: {''.join(reason)}") from error
    return tokenizer
