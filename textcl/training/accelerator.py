"""Devices, precision and processes of a run, as Accelerate has them."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs

from textcl.distributed import World
from textcl.encoder.precision import fast_bfloat16
from textcl.errors import UserError
from textcl.training.settings import TrainSettings


def accelerator_of(settings: TrainSettings) -> Accelerator:
    """Accelerate as the settings of a run ask for it.

    Raises:
        UserError: If the machine has not what they ask for.
    """
    # Accelerate keeps precision and accumulation of the first run in a process; a second run may differ. What it knows
    # of other processes goes too when the run before has ended their group
    gone = not torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=gone)  # pyright: ignore[reportPrivateUsage]
    GradientState._reset_state()  # pyright: ignore[reportPrivateUsage]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if settings.precision == "fp16" and device == "cpu":
        raise UserError("precision=fp16 needs a GPU; on this machine use bf16, fp32 or auto")
    known = [str(tracker) for tracker in get_available_trackers()]
    for tracker in settings.trackers:
        if tracker not in known:
            raise UserError(
                f"tracker {tracker!r} is not installed (here: {', '.join(known) or 'none'}); "
                "install its package, or leave it out: metrics.jsonl is always written"
            )
    auto = "bf16" if fast_bfloat16(device) else "no"
    return Accelerator(
        # said outright, or Accelerate takes several processes without a GPU for strangers
        cpu=not torch.accelerator.is_available(),
        mixed_precision={"auto": auto, "fp32": "no"}.get(settings.precision, settings.precision),
        gradient_accumulation_steps=settings.accumulation,
        log_with=list(settings.trackers) or None,
        project_dir="." if settings.trackers else None,  # the run folder, once it is known
        # what buffers hold (queues, prototypes, averages) is the same on all processes already
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def describe_machine(accelerator: Accelerator) -> str:
    """Precision, processes, device and threads."""
    precision = {"no": "float32", "bf16": "bf16 autocast", "fp16": "fp16 autocast"}
    kind = precision.get(str(accelerator.mixed_precision), str(accelerator.mixed_precision))
    threads = f", {torch.get_num_threads()} threads" if accelerator.device.type == "cpu" else ""
    return f"{kind} on {accelerator.num_processes} × {accelerator.device.type}{threads}"


def world_of(accelerator: Accelerator) -> World:
    """The processes that Accelerate started."""
    from textcl.distributed import ALONE, AllRanks

    return AllRanks() if accelerator.num_processes > 1 else ALONE
