"""A run without an update, for which the model before training is the best there is."""

from __future__ import annotations

from collections.abc import Mapping

from accelerate import Accelerator

from textcl.distributed import World
from textcl.method.method import Method
from textcl.training.parts import Parts
from textcl.training.position import Position
from textcl.training.recorder import Recorder
from textcl.training.run_folder import RunFolder
from textcl.training.settings import TrainSettings


def save_start(
    method: Method,
    settings: TrainSettings,
    folder: RunFolder,
    accelerator: Accelerator,
    world: World,
    *,
    card: Mapping[str, object],
) -> Position:
    """Leave the model before training in the run folder, as the best and the last one.

    Args:
        method: What would be trained; its hooks act before it is saved.
        settings: Of the run.
        folder: The run.
        accelerator: Devices, precision and processes.
        world: The processes that train together.
        card: Facts for the model card.

    Returns:
        The position after no update.
    """
    position = Position()
    if accelerator.is_main_process:
        folder.empty_log()
    Recorder(folder, Parts(method, settings, accelerator), world, None, card).finish(position)
    return position
