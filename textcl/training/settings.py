"""The numbers of a run that do not depend on the method; a recipe's settings add its own to them."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, TypeVar

from textcl.errors import UserError


@dataclass(frozen=True)
class TrainSettings:
    """How a method is trained. Recipes inherit this value, so that one flat list of settings describes a run.

    Args:
        model: Name or folder of the HuggingFace model or sentence-transformers model to start from.
        data: File, folder, hub data set, or "sample" for the sentences that come with textcl.
        dev: Graded pairs that select the best weights: a task name or a file; "" for none.
        batch_size: Rows of a step over all processes, before accumulation.
        learning_rate: Highest learning rate.
        epochs: Passes over the data.
        steps: Updates; when given, `epochs` is not used.
        warmup: Fraction of the updates in which the learning rate rises from 0.
        schedule: How it falls afterwards.
        weight_decay: AdamW's, not applied to biases, norms and scalars.
        max_grad_norm: Gradients are clipped to this norm; 0 for no clipping.
        precision: "auto" is bf16 autocast where the machine has fast bf16; weights stay float32.
        accumulation: Batches of an update. They do not see each other's rows: for more negatives use chunk_size.
        chunk_size: Rows embedded at once by gradient caching; 0 embeds the batch at once.
        gradient_checkpointing: Save memory by computing activations twice.
        max_length: Longest row in tokens.
        dropout: Dropout rate of the encoder; the model's own when empty.
        num_layers: Keep only the first layers; all when empty.
        evaluate_every: Updates between two evaluations on `dev`; 0 evaluates after every epoch.
        save_every: Updates between two checkpoints; 0 saves only at the end.
        patience: Evaluations without a better score after which training stops; 0 never stops early.
        log_every: Updates between two lines of the log.
        trackers: Any of tensorboard, wandb, mlflow, trackio, … that Accelerate knows.
        seed: Seed of everything.
    """

    model: str = "bert-base-uncased"
    data: str = ""
    dev: str = "STSBenchmark-dev"
    batch_size: int = 64
    learning_rate: float = 3e-5
    epochs: float = 1.0
    steps: int | None = None
    warmup: float = 0.0
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulation: int = 1
    chunk_size: int = 0
    gradient_checkpointing: bool = False
    max_length: int = 32
    dropout: float | None = None
    num_layers: int | None = None
    evaluate_every: int = 125
    save_every: int = 125
    patience: int = 0
    log_every: int = 10
    trackers: tuple[str, ...] = ()
    seed: int = 0

    LOWEST: ClassVar[Mapping[str, float]] = {
        "batch_size": 1,
        "steps": 1,
        "warmup": 0,
        "weight_decay": 0,
        "max_grad_norm": 0,
        "accumulation": 1,
        "chunk_size": 0,
        "max_length": 3,
        "num_layers": 1,
        "evaluate_every": 0,
        "save_every": 0,
        "patience": 0,
        "log_every": 1,
        "seed": 0,
        "dropout": 0,
        "learning_rate": 0,
        "epochs": 0,
    }

    def __post_init__(self) -> None:
        for name, lowest in self.LOWEST.items():
            value = getattr(self, name)
            if value is not None and not value >= lowest:
                raise UserError(f"setting {name} must be at least {lowest}, not {value}")

    def learning_rate_at(self, step: int, total: int) -> float:
        """The learning rate of update `step`, counted from 0, of `total`."""
        rise = math.ceil(self.warmup * total)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        left = (total - step) / max(1, total - rise)
        match self.schedule:
            case "linear":
                return self.learning_rate * left
            case "cosine":
                return self.learning_rate * (1 - math.cos(math.pi * left)) / 2
            case _:
                return self.learning_rate

    def evaluation_interval(self, batches: int) -> int:
        """Updates between two evaluations, given the batches of an epoch."""
        return self.evaluate_every or max(1, batches // self.accumulation)

    def total_steps(self, batches: int) -> int:
        """Updates of the run, given the batches of an epoch."""
        if self.steps is not None:
            return self.steps
        return max(1, math.floor(self.epochs * batches) // self.accumulation)


S = TypeVar("S", bound=TrainSettings)


def with_overrides(settings: S, overrides: Sequence[str]) -> S:
    """The settings with `key=value` texts applied, parsed by the type of each field.

    Raises:
        UserError: For an unknown key (naming the nearest valid ones) or a value of another type.
    """
    known = {field.name: field for field in fields(settings)}
    changes: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UserError(f"expected --set key=value, got {override!r}")
        if key not in known:
            near = get_close_matches(key, known, n=3, cutoff=0.4) or sorted(known)
            raise UserError(f"unknown setting {key!r}; did you mean {', '.join(near)}?")
        changes[key] = _parse(key, text.strip(), _type_of(settings, known[key]))
    return replace(settings, **changes)


def as_mapping(settings: TrainSettings) -> dict[str, Any]:
    """Settings as plain values for JSON."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}


def from_mapping(settings_type: type[S], values: Mapping[str, Any]) -> S:
    """Settings from what `as_mapping` gave; fields that are new since then take their defaults.

    Raises:
        UserError: If a setting of the run is unknown to this version of the recipe.
    """
    known = {field.name for field in fields(settings_type)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UserError(
            f"the recipe of this version of textcl does not know {', '.join(unknown)}: "
            "continue the run with the version that started it"
        )
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return settings_type(**plain)


def _type_of(settings: TrainSettings, field: Field[Any]) -> Any:
    return typing.get_type_hints(type(settings))[field.name]


def _parse(key: str, text: str, kind: Any) -> Any:
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType or origin is typing.Union:
        if type(None) in options and text.lower() in ("", "none"):
            return None
        if str in options:
            return _number_or_text(text)
        return _parse(key, text, next(option for option in options if option is not type(None)))
    if origin is Literal:
        if text not in options:
            raise UserError(f"setting {key} is one of {', '.join(options)}, not {text!r}")
        return text
    if origin is tuple:
        return tuple(
            _parse(key, part.strip(), options[0]) for part in text.split(",") if part.strip()
        )
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"setting {key} is true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        name = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise UserError(f"setting {key} is {name}, not {text!r}") from None


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
