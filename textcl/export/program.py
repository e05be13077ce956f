"""An encoder as torch exports it: its graph in a traceable state, and the program that torch makes of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from textcl.encoder.encoder import Encoder
from textcl.encoder.packing.calling import is_packed
from textcl.errors import RunError
from textcl.export.graph import EncoderGraph

_NAME = "textcl_export"


@contextmanager
def exportable(encoder: Encoder) -> Generator[EncoderGraph]:
    """The graph of an encoder, in eval mode and with an attention that exporters know; undone at the end."""
    graph, training = EncoderGraph(encoder), encoder.training
    attention = encoder.backbone.config._attn_implementation  # pyright: ignore[reportPrivateUsage]
    encoder.eval()
    graph.eval()
    if is_packed(encoder.backbone):
        encoder.backbone.set_attn_implementation(_NAME)
    try:
        yield graph
    finally:
        if is_packed(encoder.backbone) and attention is not None:
            encoder.backbone.set_attn_implementation(attention)
        encoder.train(training)


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """The mask of transformers, but every query attends to itself.

    Padding outside the window of all tokens would attend to nothing, which is nan in graphs of other libraries and
    spreads from there.
    """
    mask = sdpa_mask(*args, **kwargs)
    if mask is None:
        return None
    place = torch.arange(mask.shape[-1], device=mask.device)
    return mask | (place[:, None] == place)


AttentionInterface.register(_NAME, sdpa_attention_forward)
AttentionMaskInterface.register(_NAME, _mask)


def program_of(graph: EncoderGraph, encoder: Encoder) -> ExportedProgram:
    """The graph as torch exports it, for any number of rows and any length."""
    ids, mask = encoder.tokenize(["a few words", "one"]).padded(0)
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    try:
        with torch.no_grad():
            return torch.export.export(
                graph, (ids.cpu(), mask.long().cpu()), dynamic_shapes=(free, free)
            )
    except Exception as error:  # whatever stops the tracing of somebody else's model
        kind = encoder.backbone.config.model_type
        raise RunError(
            f"torch cannot export this {kind} model: {str(error).strip().splitlines()[0]}; use --backend torch"
        ) from error
