"""The choice to repeat the steps of a run as graphs of the card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from accelerate import Accelerator

from textcl.method.backprop import FullBatch
from textcl.method.graphs import Graphs
from textcl.method.hooks import Hook
from textcl.method.method import Method
from textcl.method.recording import CudaGraphs
from textcl.training.settings import TrainSettings


def with_graphs(
    method: Method,
    settings: TrainSettings,
    accelerator: Accelerator,
    log: Callable[[str], object],
) -> Method:
    """The method with its steps repeated as graphs, where the settings ask for it and the run allows it.

    Args:
        method: What is trained.
        settings: Of the run.
        accelerator: Devices, precision and processes.
        log: Called with a line for the user where steps cannot be graphs, and why.
    """
    if not settings.graphs:
        return method
    if why := _hindrance(method, settings, accelerator):
        log(f"graphs=true: steps are not repeated as graphs ({why})")
        return method
    graphs = Graphs(method.backprop, CudaGraphs(accelerator.device), log)
    epochs_differ = any(type(hook).before_epoch is not Hook.before_epoch for hook in method.hooks)
    hooks = [*method.hooks, graphs] if epochs_differ else method.hooks
    return replace(method, backprop=graphs, hooks=hooks)


def _hindrance(method: Method, settings: TrainSettings, accelerator: Accelerator) -> str:
    hindrances = {
        "there is no CUDA device": accelerator.device.type != "cuda",
        "several processes average their gradients": accelerator.num_processes > 1,
        "precision=fp16 scales the loss": accelerator.scaler is not None,
        "chunk_size embeds again with the random numbers of before": not isinstance(
            method.backprop, FullBatch
        ),
        "gradient_checkpointing computes again with the random numbers of before": settings.gradient_checkpointing,
    }
    return next((why for why, holds in hindrances.items() if holds), "")
