"""Private APIs of accelerate, checked with 1.15."""

from __future__ import annotations

from pathlib import Path

from accelerate import DistributedType, PartialState
from accelerate.utils.constants import FSDP_MODEL_NAME


def shard_on_cpu() -> None:
    """Let the next Accelerator shard on CPUs as well, by gloo.

    accelerate allows FSDP only for processes with devices of their own, decides what a process is where its state is
    created, and has no setting for it. torch itself shards on CPUs.
    """
    if PartialState().distributed_type == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def is_sharded_checkpoint(checkpoint: Path) -> bool:
    """Whether a checkpoint is of a sharded run: accelerate names its file of whole weights by a constant of its own."""
    return (checkpoint / f"{FSDP_MODEL_NAME}.bin").exists()
