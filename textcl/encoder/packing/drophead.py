"""DropHead: dropping whole attention heads while training, in any backbone and behind any attention kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from textcl.encoder.packing.places import Packing
from textcl.errors import UserError

PROJECTIONS = {
    "attention.output.dense": "BERT, RoBERTa, XLM-R, ELECTRA, CamemBERT, DeBERTa",
    "attention.dense": "ALBERT",
    "attention.out_lin": "DistilBERT",
    "attention.attn.o": "MPNet",
    "attn.Wo": "ModernBERT",
    "self_attn.o_proj": "Llama, Mistral, Qwen, Gemma, EuroBERT",
    "SelfAttention.o": "T5",
}
"""Names of the projection that the attention context leaves a block by; the first word of a name is the block."""


def drop_heads(
    context: Float[Tensor, "B L _"], keep: Bool[Tensor, "B H"]
) -> Float[Tensor, "B L _"]:
    """Attention contexts without the dropped heads, the others scaled so that the scales sum to the heads.

    Args:
        context: Contexts of all heads side by side, as they go into the output projection.
        keep: False for the heads that each row drops at all its positions.

    Returns:
        The contexts. A row that drops all its heads is NaN, as in the authors' code: `draw_head_mask` never
        draws one.

    Source: Zhou et al. 2020, https://arxiv.org/abs/2004.13342
    """
    rows, length, width = context.shape
    heads = keep.shape[1]
    scale = keep * (heads / keep.sum(1, keepdim=True, dtype=context.dtype))
    parts = context.view(rows, length, heads, width // heads)
    return (parts * scale[:, None, :, None]).view(rows, length, width)


def draw_head_mask(
    rows: int,
    heads: int,
    p: float,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Bool[Tensor, "rows heads"]:
    """Mask of the heads that each row keeps: each with probability 1 - p, drawn again until one is kept.

    The loop of redraws is folded into one draw of the same distribution, because asking a GPU whether to go on
    would wait for it at every layer: the first kept head is drawn from its truncated geometric distribution, the
    heads behind it are independent.

    Args:
        rows: Rows of the batch.
        heads: Attention heads.
        p: Probability to drop a head, at least 0 and below 1.
        generator: Source of the draws; the default generator of the device when None.
        device: Where the mask lies.

    Returns:
        True for kept heads.
    """
    place = torch.arange(heads, device=device)
    if p == 0:
        return (place >= 0).expand(rows, heads)
    drawn = torch.rand(rows, heads + 1, generator=generator, device=device, dtype=torch.float32)
    first = (torch.log1p(-drawn[:, :1] * (1 - p**heads)) / math.log(p)).floor()
    first = first.clamp(max=heads - 1)  # rounding must not push it past the last head
    return (place == first) | ((place > first) & (drawn[:, 1:] >= p))


def install_drophead(backbone: PreTrainedModel, p: float) -> list[RemovableHandle]:
    """Make every attention block of a backbone drop heads in training mode.

    One mask for a row and layer, from the default generator, so that replayed generator states repeat it. Both
    layouts are known: padded (B, L, D), and all rows in one (1, T, D), whose lengths come with the packing that
    the attention is called with. The published runs set all other dropout to 0.

    Args:
        backbone: A HuggingFace encoder.
        p: Probability to drop a head, at least 0 and below 1; Mirror-BERT takes 0.2 (BERT) and 0.05 (RoBERTa).

    Returns:
        Handles: `handle.remove()` on each undoes the installation.

    Raises:
        UserError: If p is no probability, or the attention blocks of this architecture are not known.

    Source: Zhou et al. 2020, https://arxiv.org/abs/2004.13342
    """
    if not 0 <= p < 1:
        raise UserError(f"The probability to drop a head must be at least 0 and below 1, not {p}.")
    blocks = _blocks(backbone)
    if not blocks:
        known = ", ".join(PROJECTIONS.values())
        raise UserError(
            f"DropHead does not know where the attention heads of {type(backbone).__name__} end; it knows "
            f"{known}: take one of these, or add the projection behind them to PROJECTIONS of "
            "textcl.encoder.packing.drophead."
        )
    handles: list[RemovableHandle] = []
    for block, projection in blocks:
        dropper = _Dropper(p, backbone.config.num_attention_heads)
        handles += [
            block.register_forward_pre_hook(dropper.note_rows, with_kwargs=True),
            projection.register_forward_pre_hook(dropper.drop),
        ]
    return handles


def _blocks(backbone: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Attention blocks and their output projections."""
    blocks: list[tuple[nn.Module, nn.Module]] = []
    for name, module in backbone.named_modules():
        for path in PROJECTIONS:
            if f".{name}".endswith(f".{path}"):
                prefix = name.removesuffix(path) + path.partition(".")[0]
                blocks.append((backbone.get_submodule(prefix), module))
    return blocks


@dataclass
class _Dropper:
    """The two hooks of one attention block: the first notes the rows, the second drops."""

    p: float
    heads: int
    packing: Packing | None = None

    def note_rows(
        self, block: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        # At each call of the block, so that a recomputation in the backward pass finds its own rows.
        packing = kwargs.get("packing")
        self.packing = packing if isinstance(packing, Packing) else None

    def drop(self, projection: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not projection.training or self.p == 0:
            return None
        context = args[0]
        device = context.device
        if self.packing is None:
            keep = draw_head_mask(len(context), self.heads, self.p, device=device)
            return drop_heads(context, keep), *args[1:]
        keep = draw_head_mask(len(self.packing.lengths), self.heads, self.p, device=device)
        keep = keep.index_select(0, self.packing.places_on(device).rows)
        # Tokens stand for rows: each has the mask of the row it belongs to.
        return drop_heads(context.transpose(0, 1), keep).transpose(0, 1), *args[1:]
