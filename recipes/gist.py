"""GIST: a guide model says what is no negative.

In every batch some "negatives" answer the anchor as well as its positive does. A guide, which is not trained, embeds
the same texts; what it finds more similar to an anchor than the anchor's positive is left out. The guide reads with its
own tokenizer, prompts and length, so it can be any encoder; the start model itself is one.

Columns as for `pairs`.

Source: Solatorio 2024, https://arxiv.org/abs/2402.16829

    temperature   margin   contrasted
    0.01          0        anchors with positives, negatives, other anchors; positives with other positives

Expect `masked` in the log to say how many candidates an anchor loses to the guide; it costs a forward pass of the
guide over every batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from textcl import (
    Encoder,
    FrozenEncoder,
    JointDirections,
    MarginSetting,
    Method,
    MoveSchedules,
    PairSettings,
    PairTable,
    Route,
    TemperatureSetting,
    Term,
    World,
    as_temperature,
    backprop_for,
    margin_mask,
)

ROLES = ("anchor", "positive")

TERMS: tuple[Term, ...] = ("anchor_anchor", "positive_positive")

PRESETS = {"all-MiniLM-L6-v2": {"learning_rate": 5e-5}}


@dataclass(frozen=True)
class Settings(PairSettings):
    """Settings of the authors' code.

    Args:
        temperature: Number, "learnable:0.05", or a schedule such as "cosine:0.1:0.05".
        guide: Model whose similarities decide; the start model, as it was, when empty.
        guide_margin: A candidate is left out where the guide's similarity to the anchor is above that of the positive,
            minus this much: absolute:0.05, or relative:0.05 for 95 % of it.
        mask_margin: The same by the similarities of the model that is trained; all count when empty.
    """

    learning_rate: float = 2e-5
    warmup: float = 0.1
    temperature: TemperatureSetting = 0.01
    guide: str = ""
    guide_margin: MarginSetting = "absolute:0"


def build(s: Settings, world: World) -> Method:
    """The method."""
    online, guide = s.load_encoder(), Encoder.from_pretrained(s.guide or s.model)
    guided = {f"guide_{name}": view for name, view in s.views(guide).items()}
    judge = PairTable(
        "guide_anchor", "guide_positive", [f"guide_{name}" for name in s.negative_names], TERMS
    )
    objective = JointDirections(
        as_temperature(s.temperature),
        PairTable(negatives=s.negative_names, terms=TERMS),
        [*s.masks(world), replace(margin_mask(s.guide_margin, world), guide=judge)],
        world=world,
    )
    return Method(
        views=s.views(online) | guided,
        encoders={"online": online, "guide": FrozenEncoder(guide, guide.finish)},
        routes=s.routes() | {name: Route("guide", name) for name in guided},
        objective=objective,
        hooks=[MoveSchedules.of(objective)],
        backprop=backprop_for(s.chunk_size),
        read_by=dict.fromkeys(guided, guide),
    )
