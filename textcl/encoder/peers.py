"""The names under which other libraries call an encoder, so that a textcl one runs in their evaluators as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from textcl.errors import UserError

Role = Literal["query", "document"]

ROLE_PROMPTS: Mapping[Role, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}
"""Names of the prompts of a role, the first that a model has being the one that is used."""


class PeerOptions(TypedDict, total=False):
    """Arguments of `SentenceTransformer.encode` that textcl has under other names.

    Args:
        batch_size: Rows of a batch; it bounds `batch_tokens` by as many rows of the full length.
        normalize_embeddings: True is `normalize=True`, False the model's own way.
        show_progress_bar: `show_progress`.
        prompt_name: `prompt`.
        convert_to_numpy: Whether to give an array, which is the default.
    """

    batch_size: int
    normalize_embeddings: bool
    show_progress_bar: bool | None
    prompt_name: str | None
    convert_to_numpy: bool


class ReadingOptions(TypedDict, total=False):
    """Arguments of `Encoder.encode` that say how texts are read, whatever becomes of their vectors."""

    batch_tokens: int | None
    prompt: str | None
    prompt_text: str | None
    show_progress: bool
    precision: str | None
    dtype: str


class EncodeArguments(PeerOptions, ReadingOptions, total=False):
    """All that `Encoder.encode` takes beside the texts, under either name."""

    normalize: bool | None
    truncate_dim: int | None


def role_prompt(prompts: Mapping[str, str], role: Role) -> str | None:
    """Name of the prompt of a role; None, which leaves the default one, where the model has none."""
    return next((name for name in ROLE_PROMPTS[role] if name in prompts), None)


def role_arguments(
    prompts: Mapping[str, str], role: Role, options: EncodeArguments
) -> EncodeArguments:
    """Arguments of `encode` with the prompt of a role where none is asked for."""
    asked = [options.get(name) for name in ("prompt", "prompt_name", "prompt_text")]
    return (
        options
        if any(each is not None for each in asked)
        else {**options, "prompt": role_prompt(prompts, role)}
    )


@dataclass(frozen=True)
class OwnArguments:
    """The arguments of `encode`, whichever name they were given by.

    Args:
        batch_tokens: Most tokens of a batch.
        prompt: Name of a prompt; "" for none, None for the model's default.
        normalize: As for `Encoder.encode`.
        show_progress: Whether to show a bar.
    """

    batch_tokens: int
    prompt: str | None
    normalize: bool | None
    show_progress: bool


def own_arguments(
    own: EncodeArguments, peers: PeerOptions, budget: int, max_length: int
) -> OwnArguments:
    """Arguments under textcl's names and under those of sentence-transformers, brought together.

    Args:
        own: Those under textcl's names.
        peers: Those under the other names.
        budget: Tokens of a batch by default.
        max_length: Most tokens of a row.

    Raises:
        UserError: If one is given under both names, or there is no such argument.
    """
    if unknown := sorted(peers.keys() - PeerOptions.__annotations__.keys()):
        raise UserError(
            f"encode has no argument {unknown[0]!r}; beside its own it takes {', '.join(PeerOptions.__annotations__)}"
        )
    prompt, name = own.get("prompt"), peers.get("prompt_name")
    if prompt is not None and name is not None:
        raise UserError("prompt and prompt_name are both the name of a prompt: give one of them")
    rows, tokens = peers.get("batch_size"), own.get("batch_tokens")
    if rows is not None and rows < 1:
        raise UserError(f"batch_size is at least 1, got {rows}")
    bounded = budget if rows is None else max(1, min(budget, rows * max_length))
    normalize = own.get("normalize")
    return OwnArguments(
        tokens or bounded,
        prompt if name is None else name,
        True if normalize is None and peers.get("normalize_embeddings") else normalize,
        own.get("show_progress", False) or bool(peers.get("show_progress_bar")),
    )


@dataclass
class EvaluatorScores:
    """The latest scores of each evaluator of sentence-transformers; evaluators leave them with a model.

    Args:
        scores: By name of the evaluator.
    """

    scores: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])

    def set_evaluation_metrics(
        self, evaluator: object, metrics: Mapping[str, float], epoch: int = 0, step: int = 0
    ) -> None:
        """Keep the scores of an evaluator."""
        name = getattr(evaluator, "name", "") or type(evaluator).__name__
        self.scores[name] = dict(metrics)
