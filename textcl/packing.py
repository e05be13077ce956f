"""How rows without padding travel through an unmodified HuggingFace model.

All tokens of a batch make one row of T tokens: linear layers, norms and activations see real tokens
only. Rows are sorted by length, so that attention, which must stay inside each row, runs once per
length over a plain slice; in training on a CPU once for all lengths up to the next multiple of 16. On CUDA flash
attention takes the rows as they lie, and where it does not (dropout, hidden tokens, float32) they are padded for the
attention alone.
Architectures that do not let their attention be replaced are run with padding, in groups of similar
length; the callers cannot tell the difference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from inspect import signature
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Int32, Shaped
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from textcl import attention
from textcl.types import Changes, Tokens

try:
    from torch.nn.attention.varlen import varlen_attn

    if not {"scale", "window_size"} <= signature(varlen_attn).parameters.keys():
        varlen_attn = None  # of torch 2.10, which has neither
except ImportError:
    varlen_attn = None

_NAME = "textcl_packed"

# Bidirectional encoders whose attention goes through transformers' interface and sees nothing but q, k and v.
_PACKED = frozenset(
    {"bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}
)

# Padded groups end where a row would be this much longer than the first one, unless they are this small.
_STRETCH, _SMALL = 1.25, 16

_SHORT = 128  # tokens up to which plain products beat the fused attention on CPUs in bfloat16


@dataclass(frozen=True)
class Packing:
    """Where the rows of a packed batch lie.

    Args:
        lengths: Tokens of each row, none 0, equal ones side by side; on the CPU.
        attend: False for tokens that none attends to; all may be attended to when None.
    """

    lengths: Int[Tensor, " B"]
    attend: Bool[Tensor, " T"] | None = None

    @cached_property
    def groups(self) -> list[tuple[int, int]]:
        """(rows, length) of each run of equally long rows."""
        lengths, rows = torch.unique_consecutive(self.lengths, return_counts=True)
        return list(zip(rows.tolist(), lengths.tolist(), strict=True))

    @cached_property
    def _buckets(self) -> dict[int, attention.Buckets]:
        return {}

    def buckets(self, heads: int) -> attention.Buckets:
        """Where the rows lie when attention pads them a little; the same for all layers."""
        if heads not in self._buckets:
            self._buckets[heads] = attention.Buckets.of(self.lengths, heads)
        return self._buckets[heads]

    @cached_property
    def mask(self) -> Bool[Tensor, "B L"]:
        """True on real tokens of the padded batch."""
        return torch.arange(self.longest) < self.lengths[:, None]

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.lengths.max())

    @cached_property
    def _placed(self) -> dict[Any, Any]:
        return {}

    def offsets(self, device: torch.device) -> Int32[Tensor, " B1"]:
        """Where each row starts, and the end of the last one; the same tensor for all layers."""
        if device not in self._placed:
            offsets = F.pad(self.lengths.cumsum(0), (1, 0)).to(torch.int32)
            self._placed[device] = offsets.to(device, non_blocking=True)
        return self._placed[device]

    def padding(
        self, device: torch.device, window: int | None
    ) -> tuple[Int[Tensor, " T"], Bool[Tensor, "B 1 #L L"]]:
        """Place of each token in the padded batch, and which keys a query attends to; the same for all layers."""
        if (device, window) not in self._placed:
            rows, width = self.mask.shape
            real = self.mask.flatten().nonzero().squeeze(1).to(device, non_blocking=True)
            keys = self.mask.flatten().to(device, non_blocking=True)
            if self.attend is not None:
                keys = keys.index_copy(0, real, self.attend)
            near = _window_mask(width, window)
            near = None if near is None else near.to(device, non_blocking=True)
            self._placed[device, window] = real, _visible(keys.view(rows, 1, 1, width), near)
        return self._placed[device, window]


def is_packed(backbone: PreTrainedModel) -> bool:
    """Whether this model runs without padding."""
    config = backbone.config
    return (
        config.model_type in _PACKED
        and bool(getattr(backbone, "_supports_attention_backend", False))
        and not getattr(config, "is_decoder", False)
    )


def hidden_states(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int] = (-1,)
) -> dict[int, Float[Tensor, "T D"]]:
    """Hidden states of every token, in the order of `tokens`.

    Args:
        backbone: Any HuggingFace text encoder.
        tokens: Rows of token ids on the device of the model; rows without tokens are allowed.
        layers: Which states: 0 is the embedding output, -1 the last layer.

    Returns:
        Packed hidden states by the given layer numbers.
    """
    if not len(tokens.ids):
        empty = next(backbone.parameters()).new_zeros(0, backbone.config.hidden_size)
        return dict.fromkeys(layers, empty)
    order = torch.argsort(tokens.lengths, stable=True)
    order = order[tokens.lengths[order] > 0]
    places = tokens.tokens_of(order).to(tokens.ids.device, non_blocking=True)
    in_order = torch.equal(order, order.sort().values)
    if len(order) < len(tokens) or not in_order:
        tokens = tokens.take(order)
    states = (_run_packed if is_packed(backbone) else _run_bucketed)(backbone, tokens, layers)
    if in_order:
        return states
    back = torch.empty_like(places)
    back[places] = torch.arange(len(places), device=places.device)
    return {layer: state.index_select(0, back) for layer, state in states.items()}


def padded_hidden_states(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int], width: int | None = None
) -> tuple[dict[int, Float[Tensor, "B L D"]], Bool[Tensor, "B L"]]:
    """Hidden states of rows padded on the right, and a mask that is True on real tokens.

    Args:
        backbone: Any HuggingFace text encoder.
        tokens: Rows of token ids on the device of the model, none empty.
        layers: As in `hidden_states`.
        width: Padded length; the longest row when None.
    """
    pad_id = getattr(backbone.config, "pad_token_id", None) or 0
    ids, mask = tokens.padded(pad_id, width)
    changes, keep = tokens.changes or Changes(), _kept_embeddings(tokens)
    seen = mask if changes.attend is None else _spread(changes.attend, mask)
    inputs = {"input_ids": ids, "attention_mask": seen.long()}
    if changes.positions is not None:
        inputs["position_ids"] = _spread(_positions(backbone, tokens), mask)
    with _embedded(backbone, None if keep is None else _spread(keep, mask)):
        output = backbone(**inputs, output_hidden_states=_needs_all(layers))
    return _select(output, layers), mask


def _spread(
    values: Shaped[Tensor, "T ..."], mask: Bool[Tensor, "B L"]
) -> Shaped[Tensor, "B L ..."]:
    """Values of the real tokens where they are in the padded batch, zeros elsewhere."""
    padded = values.new_zeros(*mask.shape, *values.shape[1:])
    padded[mask] = values
    return padded


def _kept_embeddings(tokens: Tokens) -> Bool[Tensor, "T _"] | None:
    """False for what the views cut out of each token's embedding output."""
    changes = tokens.changes or Changes()
    keep = None if changes.embed is None else changes.embed[:, None]
    if changes.features is None:
        return keep
    lengths = tokens.lengths.to(tokens.ids.device, non_blocking=True)
    features = changes.features.repeat_interleave(lengths, 0, output_size=len(tokens.ids))
    return features if keep is None else features & keep


@contextmanager
def _embedded(backbone: PreTrainedModel, keep: Bool[Tensor, "B L _"] | None) -> Generator[None]:
    """Within it the embedding output, normalised and dropped out, becomes 0 where `keep` is False.

    Under autocast on a CPU it is also handed on in the lower precision, and with it all hidden states: a training step
    is a tenth faster than with float32 states, which every linear layer has to convert.
    """
    low = torch.get_autocast_dtype("cpu") if _autocast_on_cpu(backbone) else None
    if keep is None and low is None:
        yield
        return

    def change(module: torch.nn.Module, args: object, output: Tensor) -> Tensor:
        kept = output if keep is None else output.masked_fill(~keep, 0.0)
        return kept if low is None else kept.to(low)

    embeddings = getattr(backbone, "embeddings", None) or backbone.get_input_embeddings()
    handle = embeddings.register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()


def _autocast_on_cpu(backbone: PreTrainedModel) -> bool:
    return backbone.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def _run_packed(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int]
) -> dict[int, Tensor]:
    if backbone.config._attn_implementation != _NAME:  # pyright: ignore[reportPrivateUsage]
        backbone.set_attn_implementation(_NAME)
    count, lengths = len(tokens.ids), tokens.lengths
    missing = _missing(tokens)
    inputs = {"input_ids": tokens.ids, "position_ids": _positions(backbone, tokens)}
    if missing:
        inputs = {k: torch.cat([x, x[:1].expand(missing)]) for k, x in inputs.items()}
        lengths = torch.cat([lengths, torch.tensor([missing])])
    inputs = {name: x[None] for name, x in inputs.items()}
    keep, attend = _kept_embeddings(tokens), tokens.changes and tokens.changes.attend
    if keep is not None:
        keep = F.pad(keep, (0, 0, 0, missing), value=True)[None]
    if attend is not None:
        attend = F.pad(attend, (0, missing), value=True)
    if hasattr(getattr(backbone, "embeddings", None), "token_type_embeddings"):
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    with _embedded(backbone, keep):
        output = backbone(
            **inputs,
            # A mask of four dimensions is handed on as it is, so that no model builds one of T x T.
            attention_mask=tokens.ids.new_ones(1, 1, 1, 1, dtype=torch.bool),
            output_hidden_states=_needs_all(layers),
            packing=Packing(lengths, attend),
        )
    return {layer: state[0, :count] for layer, state in _select(output, layers).items()}


def _missing(tokens: Tokens) -> int:
    """Tokens of a row that is thrown away, so that batches on a CPU come in few different sizes.

    oneDNN makes a kernel for every size that it meets and keeps many of them: a training step is 14 % faster with
    rounded sizes, and encoding does not grow in memory with the texts.
    """
    if tokens.ids.device.type != "cpu":
        return 0
    return -len(tokens.ids) % (64 if len(tokens.ids) > 512 else 16)


def _positions(backbone: PreTrainedModel, tokens: Tokens) -> Int[Tensor, " T"]:
    table = getattr(getattr(backbone, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    if tokens.changes is not None and tokens.changes.positions is not None:
        return tokens.changes.positions + (0 if padding is None else padding + 1)
    if padding is None:
        return tokens.places.to(tokens.ids.device, non_blocking=True)
    lengths = tokens.lengths
    first = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    # RoBERTa counts from its padding id and gives a padding token inside a text no position of its own.
    real = (tokens.ids != padding).long()
    count = real.cumsum(0)
    first = first.to(tokens.ids.device, non_blocking=True)
    return (count - (count - real)[first]) * real + padding


def _run_bucketed(
    backbone: PreTrainedModel, tokens: Tokens, layers: Sequence[int]
) -> dict[int, Tensor]:
    _tell_padded(backbone.config.model_type)
    parts: list[dict[int, Tensor]] = []
    for start, stop in _buckets(tokens.lengths.tolist()):
        states, mask = padded_hidden_states(backbone, tokens.rows(start, stop), layers)
        parts.append({layer: state[mask] for layer, state in states.items()})
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def _buckets(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of ascending lengths that waste little on padding."""
    cuts = [0]
    for row, length in enumerate(lengths):
        if row - cuts[-1] >= _SMALL and length > _STRETCH * lengths[cuts[-1]]:
            cuts.append(row)
    return list(zip(cuts, [*cuts[1:], len(lengths)], strict=True))


@lru_cache
def _tell_padded(model_type: str) -> None:
    logging.getLogger("textcl").warning(
        "%s models run with padding: their attention cannot be replaced, so short rows cost more",
        model_type,
    )


def _needs_all(layers: Sequence[int]) -> bool:
    return tuple(layers) != (-1,)


def _select(output: Any, layers: Sequence[int]) -> dict[int, Tensor]:
    if not _needs_all(layers):
        return {-1: output.last_hidden_state}
    return {layer: output.hidden_states[layer] for layer in layers}


def _attention(
    module: torch.nn.Module,
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B H L d"],
    value: Float[Tensor, "B H L d"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packing: Packing | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "B L H d"], None]:
    """Attention inside each row of a packed batch; without a packing, transformers' own."""
    if packing is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attend = _attention_for(query, value, packing, dropout)
    # squeezed and not indexed, because the backward pass of an index fills a whole tensor
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))
    return attend(q, k, v, packing, scale, dropout, sliding_window)[None], None


def _attention_for(
    query: Tensor, value: Tensor, packing: Packing, dropout: float
) -> Callable[..., Tensor]:
    if query.device.type != "cpu":
        plain = not dropout and packing.attend is None
        return _attend_varlen if plain and _has_varlen(value) else _attend_padded
    # Measured at lengths 4 to 512: the backward pass of the fused kernel is several times slower in bfloat16 than
    # plain products on CPUs, and with dropout it is no faster.
    needs_grad = torch.is_grad_enabled() and query.requires_grad
    plain = dropout or (needs_grad and query.dtype == torch.bfloat16)
    return _attend_in_buckets if plain else _attend_by_length


def _attend_by_length(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    window: int | None,
) -> Float[Tensor, "T H d"]:
    sizes = [rows * length for rows, length in packing.groups]
    contexts: list[Tensor] = []
    attend = [None] * len(sizes) if packing.attend is None else packing.attend.split(sizes)
    slices = zip(*(x.split(sizes) for x in (query, key, value)), strict=True)
    for (rows, length), group, seen in zip(packing.groups, slices, attend, strict=True):
        q, k, v = (x.view(rows, length, *x.shape[1:]).transpose(1, 2) for x in group)
        mask = _window_mask(length, window)
        if seen is not None:
            mask = _visible(seen.view(rows, 1, 1, length), mask)
        contexts.append(_attend(q, k, v, mask, scale).transpose(1, 2).flatten(0, 1))
    return torch.cat(contexts)


def _attend(
    query: Float[Tensor, "B H L d"],
    key: Float[Tensor, "B H L d"],
    value: Float[Tensor, "B H L d"],
    mask: Bool[Tensor, ...] | None,
    scale: float,
) -> Float[Tensor, "B H L d"]:
    # Measured at lengths 4 to 512: in bfloat16 the fused kernel is slower than plain products on CPUs up to 128 tokens.
    if query.dtype != torch.bfloat16 or query.shape[-2] > _SHORT:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    scores = (query * scale) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ value


def _attend_in_buckets(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    window: int | None,
) -> Float[Tensor, "T H d"]:
    buckets = packing.buckets(query.shape[1])
    visible: list[Tensor | None] = []
    start = 0
    for bucket in buckets.buckets:
        near, keys = _window_mask(bucket.width, window), bucket.real
        if packing.attend is not None:
            real = packing.mask[start : start + bucket.rows, : bucket.width]
            real = F.pad(real, (0, bucket.width - real.shape[1]))
            keys = torch.zeros_like(real).masked_scatter_(
                real, packing.attend[_tokens(packing, start) :]
            )
        elif keys is None and near is not None:
            keys = near.new_ones(bucket.rows, bucket.width)
        visible.append(None if keys is None else _visible(keys[:, None, None], near))
        start += bucket.rows
    return attention.attend(query, key, value, buckets, visible, scale, dropout)


def _tokens(packing: Packing, rows: int) -> int:
    """Tokens of the first rows."""
    return int(packing.lengths[:rows].sum())


def _window_mask(length: int, window: int | None) -> Bool[Tensor, "L L"] | None:
    if window is None or length <= window:
        return None
    places = torch.arange(length)
    return (places[:, None] - places).abs() < window


def _visible(
    keys: Bool[Tensor, "B 1 1 L"], near: Bool[Tensor, "L L"] | None
) -> Bool[Tensor, "B 1 #L L"]:
    """Which keys each query attends to; itself where it would have none, because a row of zeros turns to nan."""
    if near is None:
        return keys
    mask = keys & near
    itself = torch.eye(len(near), dtype=torch.bool, device=near.device)
    return mask | (itself & ~mask.any(-1, keepdim=True))


def _has_varlen(value: Float[Tensor, "B H L d"]) -> bool:
    """Whether torch's flash attention over rows without padding takes values like these."""
    return (
        varlen_attn is not None
        and value.device.type == "cuda"
        and value.dtype in (torch.bfloat16, torch.float16)
        and value.shape[-1] % 8 == 0
        and value.shape[-1] <= 256
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(value.device) >= (8, 0)
    )


def _attend_varlen(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    window: int | None,
) -> Float[Tensor, "T H d"]:
    offsets, longest = packing.offsets(query.device), packing.longest
    reach = -1 if window is None else window - 1  # to either side
    query, key = query.to(value.dtype), key.to(value.dtype)  # a rotation may have widened them
    return varlen_attn(  # pyright: ignore[reportOptionalCall, reportReturnType]
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        scale=scale,
        window_size=(reach, reach),
    )


def _attend_padded(
    query: Float[Tensor, "T H d"],
    key: Float[Tensor, "T H d"],
    value: Float[Tensor, "T H d"],
    packing: Packing,
    scale: float,
    dropout: float,
    window: int | None,
) -> Float[Tensor, "T H d"]:
    rows, width = packing.mask.shape
    real, mask = packing.padding(query.device, window)
    q, k, v = (
        x.new_zeros(rows * width, *x.shape[1:])
        .index_copy(0, real, x)
        .view(rows, width, *x.shape[1:])
        .transpose(1, 2)
        for x in (query, key, value)
    )
    context = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale
    )
    return context.transpose(1, 2).flatten(0, 1).index_select(0, real)


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
