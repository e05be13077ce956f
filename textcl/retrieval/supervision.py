"""Training on pairs: the settings that such recipes share, their rows, and what selects their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Int64

from textcl.contrast.masks import MaskAbove, MaskDuplicates
from textcl.contrast.transforms import Transform
from textcl.data.pairs import named_sources, open_pairs, same_roles
from textcl.data.rows import Rows
from textcl.data.splits import hold_out
from textcl.distributed import ALONE, World
from textcl.encoder.encoder import Encoder
from textcl.encoder.reader import find_prompt
from textcl.errors import UserError
from textcl.method.method import Method
from textcl.method.routes import Route
from textcl.retrieval.dev import dev_of_folder, dev_of_pairs, is_beir
from textcl.retrieval.models import Role, prompt_name, prompt_text
from textcl.training.dev import held_out_share, load_dev
from textcl.training.domains import Domain, PoolingSetting, Text
from textcl.training.loader import Loader
from textcl.training.request import RowRequest
from textcl.training.samplers import Sampler, SourceBatches
from textcl.training.settings import TrainSettings
from textcl.training.supervision import DevChoice, Pairs, supervise
from textcl.views.view import ListView, View

_MOST_HELD_OUT = 500
"""Rows that the default dev set holds out, at most."""


def margin_mask(setting: str, world: World = ALONE) -> MaskAbove:
    """The mask that a setting asks for: "absolute:0.05" or "relative:0.05".

    Raises:
        UserError: If it is neither.
    """
    kind, _, number = setting.partition(":")
    try:
        margin = float(number) if kind in ("absolute", "relative") else math.nan
    except ValueError:
        margin = math.nan
    if not math.isfinite(margin):
        raise UserError(f"a margin is absolute:0.05 or relative:0.05, not {setting!r}")
    return MaskAbove(margin, kind == "relative", world=world)


MarginSetting = Annotated[str, Text("absolute:0.05 or relative:0.05", margin_mask)]
"""Margin by which a candidate must be less similar than the positive to count as a negative of an anchor."""


@dataclass(frozen=True)
class PairSettings(TrainSettings):
    """Settings of training an encoder on pairs, common to all recipes for them.

    Args:
        dev: What selects the weights by nDCG@10: a folder in the layout of BEIR, or the share of the pairs that is held
            out, whose anchors look for their positives among those of all pairs; or graded pairs, a task or a file; ""
            for none.
        pooling: How token states become one vector; as the model's folder says when empty, mean where it says nothing.
        anchor_prompt: Text in front of every anchor; the model's prompt "query" when empty, or its default. The saved
            model keeps it as "query".
        positive_prompt: Text in front of every positive and negative; the model's prompt "document" when empty, or its
            default. The saved model keeps it as "document".
        anchor_length: Longest anchor of training in tokens; max_length when empty.
        positive_length: Longest positive and negative of training in tokens; max_length when empty. The saved model
            reads at least as much.
        negatives: Hard negatives of each row that are used, the first of its list; all when empty.
        mask_duplicates: Do not take a text that is equal to an anchor or its positive, is of the same document, or is
            the positive of an equal anchor for a negative.
        mask_margin: How much less similar than its positive a candidate must be to count as a negative of an anchor,
            such as absolute:0.05 or relative:0.05; all count when empty.
        source_alpha: Where several data sets are given without weights, each comes in proportion to its rows to this
            power: 1 as often as it is large, 0 all alike.
        mixed_batches: Whether each batch holds rows of all data sets, and not of one.
        pair_roles: What the rows hold; found in the data.
    """

    NEEDS_NEGATIVE: ClassVar[bool] = False
    """Whether a row without a hard negative teaches nothing, so that data without any is refused."""

    dev: str = "0.05"
    batch_size: Annotated[int, Domain(at_least=1)] = 128
    max_length: Annotated[int, Domain(at_least=3)] = 128
    pooling: PoolingSetting | None = None
    anchor_prompt: str | None = None
    positive_prompt: str | None = None
    anchor_length: Annotated[int, Domain(at_least=3)] | None = None
    positive_length: Annotated[int, Domain(at_least=3)] | None = None
    negatives: Annotated[int, Domain(at_least=0)] | None = None
    mask_duplicates: bool = True
    mask_margin: MarginSetting | None = None
    source_alpha: Annotated[float, Domain(at_least=0)] = 1.0
    mixed_batches: bool = False
    pair_roles: tuple[str, ...] = ("anchor", "positive")

    @property
    def negative_names(self) -> tuple[str, ...]:
        """The names of the hard negatives, as views, routes and embeddings."""
        return tuple(f"negative_{place + 1}" for place in range(self.negatives or 0))

    def load_encoder(self) -> Encoder:
        """The encoder to train, with the prompts of both roles and room for the longest texts of training."""
        online = Encoder.from_pretrained(
            self.model,
            pooling=self.pooling,
            default_pooling="mean",
            max_length=self.reading_length,
            num_layers=self.num_layers,
            dropout=self.dropout,
            bidirectional=self.bidirectional,
            weights=self.base_weights,
            adapter=self.adapter,
        )
        if self.reading_length is None:
            longest = max(self.anchor_length or 0, self.positive_length or 0)
            online.reader(max_length=longest or None)  # refuses what the model does not take
            online.max_length = max(online.max_length, longest)
        asked: dict[Role, str | None] = {
            "query": self.anchor_prompt,
            "document": self.positive_prompt,
        }
        shared = find_prompt(online.prompts, online.default_prompt, self.prompt)
        if any(text is not None or prompt_name(online, role) for role, text in asked.items()):
            for role, text in asked.items():
                own = prompt_text(online, role) if self.prompt is None else shared
                online.prompts[role] = own if text is None else text
        return online

    def views(self, online: Encoder) -> dict[str, View]:
        """Views of the texts of a row: an anchor, a positive, and the hard negatives."""
        several = "positives" in self.pair_roles
        identities = {
            role: ids
            for role in ("positive", "positives", "negatives")
            if (ids := f"{role.removesuffix('s')}_id{'s' * role.endswith('s')}") in self.pair_roles
        }
        query, document = prompt_name(online, "query"), prompt_name(online, "document")
        listed = partial(ListView, prompt=document, max_length=self.positive_length)
        plain = partial(View, prompt=document, max_length=self.positive_length)
        positive = (
            listed("positives", identity=identities.get("positives"))
            if several
            else plain("positive", identity=identities.get("positive"))
        )
        negatives = {
            name: listed("negatives", place=place, identity=identities.get("negatives"))
            for place, name in enumerate(self.negative_names)
        }
        anchor = View("anchor", prompt=query, max_length=self.anchor_length)
        return {"anchor": anchor, "positive": positive, **negatives}

    def routes(self) -> dict[str, Route]:
        """The online encoder embeds every text."""
        names = ("anchor", "positive", *self.negative_names)
        return {name: Route("online", name) for name in names}

    def masks(self, world: World) -> list[Transform]:
        """The transforms that take false negatives out of a table of pairs."""
        masks: list[Transform] = [MaskDuplicates()] if self.mask_duplicates else []
        return [*masks, margin_mask(self.mask_margin, world)] if self.mask_margin else masks


@dataclass(frozen=True)
class PairRows(Pairs):
    """Rows of pairs from one data set or several, and what follows from them: see `Supervision`.

    Args:
        names: The data sets.
        sources: Data set of each row.
        weights: How often each data set comes; none where there is but one.
    """

    names: Sequence[str] = ()
    sources: Int64[np.ndarray, " N"] = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: Sequence[float] = ()

    def sampler(self) -> Sampler:
        """Every row once an epoch, or each data set as often as its weight says."""
        settings = self.settings
        assert isinstance(settings, PairSettings)
        if len(self.names) < 2:
            return super().sampler()
        return SourceBatches(
            self.sources, self.weights, settings.batch_size, settings.seed, settings.mixed_batches
        )

    def describe(self, method: Method, loader: Loader) -> Mapping[str, str]:
        """A line on the negatives of each anchor, and on how often each data set is drawn."""
        lines = super().describe(method, loader)
        sampler = loader.sampler
        if not isinstance(sampler, SourceBatches):
            return lines
        total = math.fsum(self.weights)
        what = "of each batch" if sampler.mixed else "of the batches"
        parts = [
            f"{name} is {weight / total:.1%} {what}, each of its {rows:,} rows comes {visits:.2f} times an epoch"
            for name, weight, rows, visits in zip(
                self.names,
                self.weights,
                np.bincount(self.sources, minlength=len(self.names)),
                sampler.visits(),
                strict=True,
            )
        ]
        return {**lines, "sources": "; ".join(parts)}

    def next_steps(self, best: Path) -> str:
        """Evaluate as a retriever, and search."""
        return f"textcl eval {best} --suite retrieval · textcl index FILE -m {best} -o index"


@supervise.register(PairSettings)
def _(
    settings: PairSettings,
    request: RowRequest,
    dev: DevChoice,
    log: Callable[[str], object],
) -> PairRows:
    data = _read(request, settings)
    rows = data.rows
    longest = max(map(len, rows.column("negatives")), default=0) if "negatives" in rows.roles else 0
    wanted = longest if settings.negatives is None else min(settings.negatives, longest)
    if settings.NEEDS_NEGATIVE and not wanted:
        why = "no row has one" if not longest else "the setting negatives is 0"
        raise UserError(
            f"{rows.report.source}: this recipe learns from negatives (columns negative or negatives), and {why}"
        )
    settings = replace(settings, negatives=wanted, pair_roles=rows.roles)
    made = PairRows(settings, rows, None, data.names, data.sources, data.shares(settings))
    if dev == "none" or not settings.dev:
        return made
    share = held_out_share(settings.dev)
    if share is None:
        named = dev_of_folder(settings.dev) if is_beir(settings.dev) else load_dev(settings.dev)
        return replace(made, dev=named)
    if rows.report.streamed:
        if dev == "named":
            raise UserError(
                f"--dev {settings.dev}: of rows that are streamed none are held out; name a file or a folder"
            )
        log(
            "no dev set, the last weights will be kept: of rows that are streamed none are held out"
        )
        return made
    if dev == "default":
        share = min(share, _MOST_HELD_OUT / len(rows))
    try:
        split = hold_out(rows.column("anchor"), None, share, settings.seed)
    except UserError:
        if dev == "named":
            raise
        log("no dev set, the last weights will be kept: too few pairs to hold some of them out")
        return made
    kept, held = rows.take(split.kept), rows.take(split.held)
    name = f"{split.describe()}, held out"
    dev_set = dev_of_pairs(held, kept, name, settings.seed)
    return replace(made, rows=kept, dev=dev_set, sources=data.sources[split.kept])


@dataclass(frozen=True)
class _Data:
    """The data that `--data` names, read.

    Args:
        rows: Of all data sets.
        names: The data sets.
        sources: Data set of each row.
        given: How often each comes, where the user says it.
    """

    rows: Rows
    names: Sequence[str]
    sources: Int64[np.ndarray, " N"]
    given: Sequence[float | None]

    def shares(self, settings: PairSettings) -> list[float]:
        """Share of each data set: by its weight, 1 where others have one, else by its rows."""
        if any(weight is not None for weight in self.given):
            return [1.0 if weight is None else weight for weight in self.given]
        sizes = np.bincount(self.sources, minlength=len(self.names))
        return [float(size) ** settings.source_alpha for size in sizes]


def _read(request: RowRequest, settings: PairSettings) -> _Data:
    """The rows of all data sets, with the same roles."""
    located = request.located
    named = [(located, None)]
    if isinstance(located, str) and request.source != "sample":
        named = named_sources(located)
    opened = [
        open_pairs(source, required=request.roles, columns=request.columns, split=request.split)
        for source, _ in named
    ]
    parts: list[Rows] = []
    for pairs in same_roles(opened) if len(opened) > 1 else opened:
        asked = replace(
            request, source=pairs.source, roles=pairs.roles, columns=pairs.columns, split=None
        )
        if len(opened) == 1:
            parts.append(asked.rows_or_stream(settings, _check_lists))
        else:
            parts.append(asked.rows())
            _check_lists(parts[-1])
    names = [part.report.source for part in parts]
    joined = parts[0] if len(parts) == 1 else Rows.joined(parts, " + ".join(names))
    sources = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return _Data(joined, names, sources, [weight for _, weight in named])


def _check_lists(rows: Rows) -> None:
    """Refuse rows with more or fewer ids or scores than texts.

    Raises:
        UserError: For the first of them.
    """
    for texts, ids in (("positives", "positive_ids"), ("negatives", "negative_ids")):
        if ids not in rows.roles:
            continue
        if texts not in rows.roles:
            raise UserError(f"{rows.report.source} has {ids}, but no {texts}")
        both = zip(rows.column(texts), rows.column(ids), strict=True)
        for number, (mine, theirs) in enumerate(both, 1):
            if len(mine) != len(theirs):
                raise UserError(
                    f"{rows.report.source}, usable row {number}: {len(mine)} {texts}, but {len(theirs)} {ids}"
                )
    if "scores" not in rows.roles:
        return
    if "positives" in rows.roles:
        raise UserError(
            f"{rows.report.source} has lists of positives and scores: a row with scores has one positive"
        )
    negatives = rows.column("negatives") if "negatives" in rows.roles else [[]] * len(rows)
    for number, (texts, scores) in enumerate(zip(negatives, rows.column("scores"), strict=True), 1):
        if len(scores) != 1 + len(texts):
            raise UserError(
                f"{rows.report.source}, usable row {number}: {len(scores)} scores, but 1 positive and {len(texts)} "
                "negatives: the score of the positive comes first, then those of the negatives"
            )
