"""Devices, precision and processes of a run, as Accelerate has them."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

from textcl.distributed import ALONE, AllRanks, World
from textcl.encoder.precision import fast_bfloat16
from textcl.errors import UserError
from textcl.terminal import counted
from textcl.training.settings import TrainSettings, as_mapping


def accelerator_of(settings: TrainSettings) -> Accelerator:
    """Accelerate as the settings of a run ask for it.

    Raises:
        UserError: If the machine has not what they ask for.
    """
    # Accelerate keeps precision and accumulation of the first run in a process; a second run may differ. What it knows
    # of other processes goes too where their group has ended
    alone = not torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=alone)  # pyright: ignore[reportPrivateUsage]
    GradientState._reset_state()  # pyright: ignore[reportPrivateUsage]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = _precision(settings, device)
    if precision == "fp16" and device == "cpu":
        raise UserError("precision=fp16 needs a GPU; on this machine use bf16, fp32 or auto")
    known = [str(tracker) for tracker in get_available_trackers()]
    for tracker in settings.trackers:
        if tracker not in known:
            raise UserError(
                f"tracker {tracker!r} is not installed (here: {', '.join(known) or 'none'}); "
                "install its package, or leave it out: metrics.jsonl is always written"
            )
    _refuse_what_is_not_honoured(settings)
    use_deterministic_operators(settings.deterministic)
    try:
        accelerator = Accelerator(
            # explicit, or Accelerate does not connect several processes without a GPU
            cpu=not torch.accelerator.is_available(),
            mixed_precision=precision,
            # as a plugin, or a variable of the environment takes the place of the number
            gradient_accumulation_plugin=GradientAccumulationPlugin(settings.accumulation),
            log_with=list(settings.trackers) or None,
            project_dir="." if settings.trackers else None,  # the run folder, once it is known
            # what buffers hold (queues, prototypes, averages) is the same on all processes already
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
    except ValueError as error:
        raise UserError(
            f"accelerate cannot start with the variables of this environment ({error}): start several processes with "
            "accelerate launch or torchrun, and unset ACCELERATE_… and WORLD_SIZE otherwise"
        ) from error
    if alone and torch.distributed.is_initialized():
        atexit.register(_end_group)
    return accelerator


def _end_group() -> None:
    """End the group of processes, with the program and not with a run.

    The launcher keeps one store for both, in which a second group would read the addresses of the first.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def use_deterministic_operators(wanted: bool) -> None:
    """Have torch take only operators that give the same bits every time, or any."""
    if wanted:
        # cuBLAS reads it when it starts: one workspace of fixed size for each stream
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # else torch fills all fresh memory, which costs and changes nothing here
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.use_deterministic_algorithms(wanted)


def _precision(settings: TrainSettings, device: str) -> str:
    """The precision by Accelerate's name: the setting, else that of `accelerate launch`, else the machine's best."""
    if settings.precision != "auto":
        return "no" if settings.precision == "fp32" else settings.precision
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "").lower()
    if launched in ("no", "bf16", "fp16"):
        return launched
    if launched:
        raise UserError(
            f"accelerate launch asks for mixed_precision={launched}, which textcl does not train with: "
            "launch with no, bf16 or fp16, or give --set precision=bf16"
        )
    return "bf16" if fast_bfloat16(device) else "no"


_ACCUMULATION = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
_NOT_HONOURED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}


def _refuse_what_is_not_honoured(settings: TrainSettings) -> None:
    """Refuse what `accelerate launch` asks for and textcl cannot do, before anything is read.

    Raises:
        UserError: If the launch asks for sharded training, a compiler or another accumulation than the settings.
    """
    steps = os.environ.get(_ACCUMULATION, "")
    if steps not in ("", str(settings.accumulation)):
        raise UserError(
            f"{_ACCUMULATION} is {steps}, and the setting accumulation is {settings.accumulation}: unset it, or "
            f"give --set accumulation={steps}"
        )
    wanted = [
        what
        for name, what in _NOT_HONOURED.items()
        if os.environ.get(name, "").lower() in ("1", "true")
    ]
    if os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() not in ("", "no"):
        wanted.append("a compiler (dynamo_backend)")
    if wanted:
        raise UserError(
            f"accelerate launch asks for {' and '.join(wanted)}, which textcl does not train with: every process holds "
            "the whole model; launch with --multi_gpu alone, and for more rows in memory use --set chunk_size=64"
        )


def describe_machine(accelerator: Accelerator) -> str:
    """Precision, processes, device and threads."""
    precision = {"no": "float32", "bf16": "bf16 autocast", "fp16": "fp16 autocast"}
    kind = precision.get(str(accelerator.mixed_precision), str(accelerator.mixed_precision))
    threads = (
        f", {counted(torch.get_num_threads(), 'thread')}"
        if accelerator.device.type == "cpu"
        else ""
    )
    return f"{kind} on {accelerator.num_processes} × {accelerator.device.type}{threads}"


def world_of(accelerator: Accelerator) -> World:
    """The processes that Accelerate started."""
    return AllRanks() if accelerator.num_processes > 1 else ALONE


def launched_world() -> World:
    """The processes that `accelerate launch` or torchrun started for a command without a run."""
    if not _launched():
        return ALONE
    if not torch.distributed.is_initialized():
        PartialState(cpu=not torch.accelerator.is_available())
        atexit.register(_end_group)
    return AllRanks()


def is_main_process() -> bool:
    """Whether this process is the one of several that shows and writes."""
    return not _launched() or os.environ.get("RANK", "0") == "0"


def _launched() -> bool:
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1")


def init_trackers(accelerator: Accelerator, folder: Path, settings: TrainSettings) -> None:
    """Start the trackers that the settings name, with the settings as what they show of the run."""
    accelerator.project_configuration.set_directories(str(folder))
    values = {k: str(v) if isinstance(v, list) else v for k, v in as_mapping(settings).items()}
    config = {k: v for k, v in values.items() if v is not None}
    accelerator.init_trackers("textcl", config=config)


def finish_trackers(accelerator: Accelerator) -> None:
    """Let the trackers of a run write what they still hold."""
    for tracker in accelerator.trackers:
        tracker.finish()
