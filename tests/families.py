"""Tiny random models of every architecture with a local tokenizer: no download, no surprise."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from textcl.encoder.encoder import Encoder

_WORDS = (
    "a an the and of in on to is are was at with for by it he she they we you i not no man woman "
    "dog cat child people play plays playing run runs running eat eats eating guitar ball field "
    "street city food music water red blue green big small old young happy sad good bad new one "
    "two three four five"
)
WORDS = tuple(_WORDS.split())

LENGTH = 64  # positions a tiny model has; its maximum sentence length in tokens

_BERT_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
# In these families positions are counted from the padding id, which therefore matters: it is 1.
_COUNTS_FROM_PADDING = frozenset({"roberta", "xlm-roberta", "mpnet"})
_END_SPECIAL = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
_ROBERTA_SPECIAL = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}

FAMILIES = (
    "bert",
    "roberta",
    "xlm-roberta",
    "electra",
    "mpnet",
    "distilbert",
    "deberta-v2",
    "modernbert",
)

T5 = ("t5", "mt5", "umt5")
DECODERS = ("qwen3", "qwen2", "llama", "mistral", "gemma3_text", "modernbert-decoder")


def tiny_tokenizer(family: str = "bert") -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that knows a few words and spells the rest in letters."""
    special = _ROBERTA_SPECIAL if family in _COUNTS_FROM_PADDING else _BERT_SPECIAL
    special = _END_SPECIAL if family in (*DECODERS, *T5) else special
    letters = string.ascii_lowercase + string.digits
    tokens = [
        *special.values(),
        *letters,
        *(f"##{letter}" for letter in letters),
        *string.punctuation,
        *(word for word in WORDS if len(word) > 1),
    ]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    first, last = special.get("cls_token"), special.get("sep_token", special.get("eos_token"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first or ''} $A {last}".strip(),
        pair=f"{first or ''} $A {last} $B {last}".strip(),
        special_tokens=[(token, vocabulary[token]) for token in (first, last) if token],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=LENGTH,
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )


def tiny_config(
    family: str = "bert", layers: int = 2, hidden: int = 32, dropout: float = 0.1
) -> PretrainedConfig:
    """Configuration of a tiny model; heads are 16 wide."""
    tokenizer = tiny_tokenizer(family)
    common = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if family == "distilbert":
        return AutoConfig.for_model(
            family,
            **common,
            dim=hidden,
            n_layers=layers,
            n_heads=hidden // 16,
            hidden_dim=2 * hidden,
            dropout=dropout,
            attention_dropout=dropout,
            max_position_embeddings=LENGTH,
        )
    if family in T5:
        sizes = {"d_model": hidden, "d_kv": 16, "d_ff": 2 * hidden, "num_heads": hidden // 16}
        common |= {"num_layers": layers, "num_decoder_layers": 1, "dropout_rate": dropout}
        common |= {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20}
        return AutoConfig.for_model(family, **common | sizes | {"eos_token_id": 0})
    if family in DECODERS:
        return _decoder_config(family, common, layers, hidden, dropout)
    common |= {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 16,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": LENGTH + 2 * (family in _COUNTS_FROM_PADDING),
    }
    if family == "modernbert":
        return AutoConfig.for_model(
            family,
            **common,
            embedding_dropout=dropout,
            attention_dropout=dropout,
            mlp_dropout=dropout,
            local_attention=8,
            global_attn_every_n_layers=2,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
        )
    common |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if family in ("electra", "albert"):
        common["embedding_size"] = hidden // 2
    if family == "deberta-v2":
        common |= {
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
            "pooler_hidden_size": hidden,
        }
    return AutoConfig.for_model(family, **common)


def _decoder_config(
    family: str, common: dict[str, Any], layers: int, hidden: int, dropout: float
) -> PretrainedConfig:
    """Two heads share their keys and values; where the family has a window it is short, in the first layer alone."""
    common |= {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 8,
        "num_key_value_heads": hidden // 16,
        "head_dim": 8,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": LENGTH,
        "attention_dropout": dropout,
    }
    if family == "mistral":
        common["sliding_window"] = 9
    if family in ("gemma3_text", "modernbert-decoder"):
        kinds = ["sliding_attention", *["full_attention"] * (layers - 1)]
        common |= {"sliding_window": 9, "layer_types": kinds}
    if family == "gemma3_text":
        common["query_pre_attn_scalar"] = 8
    if family == "modernbert-decoder":
        common |= {"local_attention": 18, "embedding_dropout": dropout, "mlp_dropout": dropout}
        common |= dict.fromkeys(("bos_token_id", "cls_token_id", "sep_token_id"), 0)
        del common["num_key_value_heads"], common["head_dim"]
    return AutoConfig.for_model(family, **common)


def tiny_model(
    family: str = "bert", layers: int = 2, hidden: int = 32, dropout: float = 0.1, seed: int = 0
) -> PreTrainedModel:
    """A randomly initialised model; wide weights, so that its outputs differ between texts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = AutoModelForTextEncoding if family in T5 else AutoModel
        model = kind.from_config(tiny_config(family, layers, hidden, dropout))
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.2)
            elif name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def tiny_model_dir(
    path: Path,
    family: str = "bert",
    layers: int = 2,
    hidden: int = 32,
    dropout: float = 0.1,
    seed: int = 0,
) -> Path:
    """Save a tiny model and its tokenizer as a HuggingFace folder `path/<family>`."""
    folder = Path(path) / family
    tiny_model(family, layers, hidden, dropout, seed).save_pretrained(folder)
    tiny_tokenizer(family).save_pretrained(folder)
    return folder


def tiny_encoder(
    family: str = "bert",
    layers: int = 2,
    hidden: int = 32,
    dropout: float = 0.1,
    seed: int = 0,
    **options: Any,
) -> Encoder:
    """An `Encoder` around a tiny model, in eval mode; options as of `Encoder`."""
    model = tiny_model(family, layers, hidden, dropout, seed)
    return Encoder(model, tiny_tokenizer(family), **options).eval()
