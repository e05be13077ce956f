"""Decoders, and models that have one: which part is used, to which side tokens see, and what follows for pooling."""

from __future__ import annotations

from transformers import PretrainedConfig, PreTrainedModel

from textcl.encoder.packing.calling import DECODERS
from textcl.encoder.packing.reach import is_causal
from textcl.errors import UserError

ENCODER_HALVES = frozenset({"t5", "mt5", "umt5"})
"""Models with a decoder whose encoder alone is used."""

_FIRST = frozenset({"cls", "first_token", "cls_pooler"})
"""Poolings that take a token which sees at most two in a causal model."""


def set_bidirectional(config: PretrainedConfig, bidirectional: bool) -> None:
    """Let each token of a decoder see both sides of it, or only what stands before it.

    The configuration says it from then on, in the words of transformers: a saved folder keeps it.

    Args:
        config: Of the model, before it is made.
        bidirectional: What is wanted.

    Raises:
        UserError: If models of this family cannot.

    Source: BehnamGhader et al. 2024, https://arxiv.org/abs/2404.05961
    """
    if config.model_type not in DECODERS:
        raise UserError(
            f"setting bidirectional is for decoders ({', '.join(sorted(DECODERS))}), not for {config.model_type} "
            "models: leave it out"
        )
    if getattr(config, "use_bidirectional_attention", False):  # Gemma's own word for it
        if not bidirectional:
            raise UserError(
                "the model was made bidirectional in its training: leave bidirectional out"
            )
        return
    config.is_causal = not bidirectional


def usual_pooling(backbone: PreTrainedModel, otherwise: str) -> str:
    """The pooling of a model whose folder names none.

    Of a causal model it is the last token, which alone has seen them all; of a bidirectional decoder and of T5, which
    have no token that stands for the text, the mean.
    """
    if is_causal(backbone):
        return "lasttoken"
    return "mean" if backbone.config.model_type in DECODERS | ENCODER_HALVES else otherwise


def check_sees_text(backbone: PreTrainedModel, pooling: str) -> None:
    """Refuse a pooling that takes a token which has not seen the text.

    Raises:
        UserError: If it does.
    """
    first = _FIRST & {*pooling.split("+")}
    if first and is_causal(backbone):
        ways = ", or set bidirectional=true" if backbone.config.model_type in DECODERS else ""
        raise UserError(
            f"pooling {min(first)!r} takes a token at the beginning, and those of {backbone.config.model_type} models "
            f"do not see the text after them: use lasttoken or mean{ways}"
        )
