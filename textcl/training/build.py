"""The method that a run trains, built by a recipe from its settings."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from textcl.distributed import World
from textcl.encoder.momentum import MomentumEncoder
from textcl.encoder.static import is_static
from textcl.errors import RunError, UserError
from textcl.method.method import Method, online_of
from textcl.training.recipes import Recipe
from textcl.training.settings import TrainSettings

_log = logging.getLogger("textcl")

_MEASURED = {"cosine": "cosines", "dot": "dot products"}
"""Names of what is trained, by similarity."""


@runtime_checkable
class KeepsActivations(Protocol):
    """A module that can compute its activations twice instead of keeping them."""

    def gradient_checkpointing_enable(self) -> None:
        """Compute them twice."""
        ...


def build_method(recipe: Recipe, settings: TrainSettings, world: World) -> Method:
    """The method of a recipe, built from the seed of the run; torch's generator goes on from there.

    Args:
        recipe: What is trained.
        settings: Of the run.
        world: The processes that train together. They have equal weights and draw different dropout masks.

    Raises:
        RunError: If it does not fit into memory.
        UserError: If a BatchNorm would see a process's share of the batch.
    """
    torch.manual_seed(settings.seed)
    try:
        method = recipe.build(settings, world)
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error) and not isinstance(error, MemoryError):
            raise
        raise RunError(
            f"the method of {recipe.name} does not fit into memory: choose a smaller model, queue or width"
        ) from error
    online = online_of(method)
    if is_static(online.backbone) and (twins := _twins(method)):
        raise UserError(
            f"recipe {recipe.name} tells {' and '.join(twins)}, two embeddings of one text, apart by dropout alone, "
            "which a static model has none of: train on pairs, or with views that differ, such as --recipe pairs"
        )
    if method.similarity not in (None, online.similarity_name):
        _log.warning(
            "the start model compares by %s and recipe %s trains %s: the saved model compares by %s",
            online.similarity_name, recipe.name, _MEASURED[method.similarity], method.similarity,
        )  # fmt: skip
        online.similarity_name = method.similarity
    online.set_default_prompt(settings.prompt)
    if online.averages_padding and settings.reading_length is None:
        online.max_length = settings.max_length
    if world.size > 1 and any(isinstance(m, nn.BatchNorm1d) for m in method.objective.modules()):
        raise UserError(
            f"the predictor of {recipe.name} has a BatchNorm, whose statistics would be those of a process's share of "
            "the batch and not of the batch: use --set predictor_norm=layer, or a single process"
        )
    if world.rank:  # rank 0 goes on with the seed's own stream
        torch.manual_seed(settings.seed + 7919 * world.rank)
    if settings.gradient_checkpointing:
        for encoder in method.encoders.values():
            if isinstance(encoder, KeepsActivations):  # averages and teachers keep none
                encoder.gradient_checkpointing_enable()
    return method


def _twins(method: Method) -> list[str]:
    """Names of embeddings that one view and the online encoder, or its moving average, make; none where all differ."""
    made: dict[str, list[str]] = {}
    for name, route in method.routes.items():
        encoder = method.encoders[route.encoder]
        if route.encoder == "online" or isinstance(encoder, MomentumEncoder):
            made.setdefault(route.view, []).append(name)
    return next((names for names in made.values() if len(names) > 1), [])
