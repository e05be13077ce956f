"""The numbers of a run that do not depend on the method; a recipe's settings add its own to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar

from textcl.arithmetic import exact_floor
from textcl.encoder.storage import Weights
from textcl.errors import UserError
from textcl.training.domains import (
    LARGEST,
    AdapterSetting,
    Domain,
    ModelName,
    Values,
    values_of,
)

Tracker = Literal[
    "aim",
    "all",
    "clearml",
    "comet_ml",
    "dvclive",
    "mlflow",
    "swanlab",
    "tensorboard",
    "trackio",
    "wandb",
]  # what Accelerate knows


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training. Recipes inherit this value, so that one flat list of settings describes a run.

    Args:
        model: Name or folder of the HuggingFace model or sentence-transformers model to start from.
        data: File, folder, hub data set, or "sample" for the sentences that come with textcl. "stream:" in front of a
            name, or "hf://" in front of a hub data set, reads rows on the way, and not into the cache first.
        shuffle_buffer: Rows of a stream that are held at once, and shuffled among each other.
        dev: Graded pairs that select the best weights: a task name or a file; "" for none.
        batch_size: Rows of a step over all processes, before accumulation.
        learning_rate: Highest learning rate.
        epochs: Passes over the data.
        steps: Updates; when given, `epochs` is not used. Rows that are streamed need it.
        warmup: Fraction of the updates in which the learning rate rises from 0, which the first has, to its highest.
        warmup_steps: These updates as a number; when given, `warmup` is not used.
        schedule: How it falls afterwards.
        weight_decay: AdamW's, not applied to biases, norms and scalars.
        max_grad_norm: Gradients are clipped to this norm; 0 for no clipping.
        precision: "auto" is bf16 autocast where the machine has fast bf16; weights stay float32.
        accumulation: Batches of an update. Means over rows, classes or masked tokens are those over all of them, as of
            one batch; but they do not see each other's rows: for more negatives use chunk_size.
        chunk_size: Rows embedded at once by gradient caching; 0 embeds the batch at once.
        gradient_checkpointing: Save memory by computing activations twice.
        deterministic: Only operators whose sums have one order, so that a GPU repeats a run bit for bit, as a CPU does
            anyway. What it costs has not been measured; an operator that has no such form ends the run with its name.
        graphs: Repeat training steps on a GPU as CUDA graphs, with batches rounded up to few sizes, where a recipe
            allows it; a run says where it does not, and why. Prepared, not measured on a card.
        max_length: Longest row of training in tokens; longer texts are cut.
        reading_length: Longest row in tokens that the saved model reads; as the start model when empty, and as in
            training with pooling=mean_all, which depends on it.
        prompt: Name of one of the model's prompts, put in front of every text in training and by the saved model; the
            model's default when none, "" for no prompt.
        dropout: Dropout rate of the encoder; the model's own when empty.
        num_layers: Keep only the first layers; all when empty.
        bidirectional: Whether each token of a decoder sees both sides of it; only what stands before it when false, and
            as the model's folder says when empty.
        base_weights: What the weights of the start model are kept as. bfloat16 takes half the memory, 4bit less and a
            CUDA device; both are for weights beside which an adapter learns.
        adapter: Learn an adapter beside the weights, which stay as they are: lora, rslora or dora with a rank, such as
            lora:16; it wants about ten times the learning rate. All weights learn when empty.
        evaluate_every: Updates between two evaluations on `dev`; 0 evaluates after every epoch, of a stream at the end.
        save_every: Updates between two checkpoints; 0 saves only at the end.
        patience: Evaluations without a better score after which training stops; 0 never stops early.
        log_every: Updates between two lines of the log.
        trackers: One or several of tensorboard, wandb, mlflow, trackio, … that Accelerate knows.
        seed: Seed of everything.
    """

    model: ModelName = "bert-base-uncased"
    data: str = ""
    shuffle_buffer: Annotated[int, Domain(at_least=1)] = 10_000
    dev: str = "STSBenchmark-dev"
    batch_size: Annotated[int, Domain(at_least=1)] = 64
    learning_rate: Annotated[float, Domain(at_least=0)] = 3e-5
    epochs: Annotated[float, Domain(above=0)] = 1.0
    steps: Annotated[int, Domain(at_least=1)] | None = None
    warmup: Annotated[float, Domain(at_least=0, below=1, hint="did you mean warmup_steps?")] = 0.0
    warmup_steps: Annotated[int, Domain(at_least=0)] | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: Annotated[float, Domain(at_least=0)] = 0.0
    max_grad_norm: Annotated[float, Domain(at_least=0)] = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulation: Annotated[int, Domain(at_least=1)] = 1
    chunk_size: Annotated[int, Domain(at_least=0)] = 0
    gradient_checkpointing: bool = False
    deterministic: bool = False
    graphs: bool = False
    max_length: Annotated[int, Domain(at_least=3)] = 32
    reading_length: Annotated[int, Domain(at_least=3)] | None = None
    prompt: str | None = None
    dropout: Annotated[float, Domain(at_least=0, below=1)] | None = None
    num_layers: Annotated[int, Domain(at_least=1)] | None = None
    bidirectional: bool | None = None
    base_weights: Weights = "float32"
    adapter: AdapterSetting | None = None
    evaluate_every: Annotated[int, Domain(at_least=0)] = 125
    save_every: Annotated[int, Domain(at_least=0)] = 125
    patience: Annotated[int, Domain(at_least=0)] = 0
    log_every: Annotated[int, Domain(at_least=1)] = 10
    trackers: tuple[Tracker, ...] = ()
    seed: Annotated[int, Domain(at_least=0, at_most=2**32 - 1)] = 0

    def __post_init__(self) -> None:
        for key, values in values_of(type(self)).items():
            object.__setattr__(self, key, _checked(key, values, getattr(self, key)))
        if self.base_weights != "float32" and self.adapter is None:
            raise UserError(
                f"setting base_weights={self.base_weights} needs an adapter beside them, such as adapter=lora:16: "
                "small updates of the weights themselves would be rounded away"
            )

    def check_start(self) -> None:
        """Refuse what can be seen before rows are read, such as a start model that a recipe cannot take.

        Raises:
            UserError: If there is something to refuse.
        """

    @property
    def start_may_be_best(self) -> bool:
        """Whether the model before training is kept where no update scores as high on dev."""
        return False

    def learning_rate_at(self, step: int, total: int) -> float:
        """The learning rate of update `step`, counted from 0, of `total`, as the schedules of transformers have it.

        The first update of a warm-up has 0, and the first one after it the highest.
        """
        rise = self.warmup_updates(total)
        if step < rise:
            return self.learning_rate * step / rise
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
        """Updates of the run, given the batches of an epoch.

        Raises:
            UserError: If the warm-up is longer, or an update takes more batches than the run has.
        """
        if self.steps is not None:
            return self.beyond_warmup(self.steps)
        planned = max(1, exact_floor(self.epochs, batches))
        if planned < self.accumulation:
            raise UserError(
                f"an update takes accumulation={self.accumulation} batches, and {self.epochs:g} epochs have {planned}: "
                "lower accumulation or batch_size, or train for more epochs"
            )
        return self.beyond_warmup(planned // self.accumulation)

    def beyond_warmup(self, total: int) -> int:
        """The updates of a run, which the warm-up must leave some of.

        Raises:
            UserError: If it does not.
        """
        if self.warmup_steps and self.warmup_steps >= total:
            raise UserError(
                f"setting warmup_steps is {self.warmup_steps}, and the run has {total} updates: "
                "the learning rate would never reach its highest value"
            )
        return total

    def warmup_updates(self, total: int) -> int:
        """Updates of the warm-up, of `total`."""
        return -exact_floor(-self.warmup, total) if self.warmup_steps is None else self.warmup_steps


S = TypeVar("S", bound=TrainSettings)


def parse_overrides(settings_type: type[TrainSettings], texts: Sequence[str]) -> dict[str, object]:
    """Settings of the command line as values: `key=value` texts, each parsed by what its setting takes.

    Raises:
        UserError: For a text without "=", an unknown key (naming the nearest ones), a key that is given twice, or a
            value that the setting does not take.
    """
    changes, given = dict[str, object](), dict[str, str]()
    if isinstance(texts, str):
        raise UserError(
            f'settings are a list of texts, ["batch_size=64"], or a dict, {{"batch_size": 64}}, not {texts!r:.60}'
        )
    for override in texts:
        name, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"expected --set key=value, got {override!r}")
        key = _known(settings_type, name)
        values = values_of(settings_type)[key]
        if key in given:
            raise UserError(f"--set {key} is given twice: {given[key]!r} and {text.strip()!r}")
        given[key] = text.strip()
        try:
            changes[key] = values.parse(text)
        except ValueError:
            raise _refusal(key, values, text.strip()) from None
    return changes


def with_values(settings: S, values: Mapping[str, object]) -> S:
    """The settings with some values replaced.

    Raises:
        UserError: For an unknown key (naming the nearest ones), or a value that the setting does not take.
    """
    takes, changes = values_of(type(settings)), dict[str, object]()
    for name, value in values.items():
        key = _known(type(settings), name)
        changes[key] = _checked(key, takes[key], value)
    return replace(settings, **changes)


def as_mapping(settings: TrainSettings) -> dict[str, object]:
    """Settings as plain values for JSON."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}


def from_mapping(settings_type: type[S], values: Mapping[str, object]) -> S:
    """Settings from what `as_mapping` gave; fields that are new since then take their defaults.

    Raises:
        UserError: If a setting of the run is unknown to this version of the recipe, or it does not take the value.
    """
    unknown = sorted(set(values) - set(values_of(settings_type)))
    if unknown:
        raise UserError(
            f"the recipe of this version of textcl does not know {', '.join(unknown)}: "
            "continue the run with the version that started it"
        )
    return with_values(settings_type(), values)


def _known(settings_type: type[TrainSettings], name: str) -> str:
    """The key of a setting as its field is written."""
    known, key = values_of(settings_type), str(name).strip().replace("-", "_")
    if key not in known:
        near = get_close_matches(key, known, n=3, cutoff=0.4) or sorted(known)
        raise UserError(f"unknown setting {key!r}; did you mean {', '.join(near)}?")
    return key


def _checked(key: str, values: Values, value: object) -> object:
    try:
        return values.check(value)
    except ValueError:
        raise _refusal(key, values, value) from None


def _refusal(key: str, values: Values, value: object) -> UserError:
    hint = f"; {values.domain.hint}" if values.domain.hint else ""
    if isinstance(value, int) and abs(value) > LARGEST:
        hint = f"; no whole number above {LARGEST} is one"
    came = "nothing" if value is None else repr(value)
    return UserError(f"setting {key} is {values}, not {came}{hint}")
