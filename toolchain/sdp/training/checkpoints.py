"""Which checkpoints of a training are whole, without torch: each gets a mark when all of it is on the disk."""

from __future__ import annotations

from pathlib import Path

COMPLETE = "complete.json"


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that were written to their end, in the order of their steps."""
    whole = sorted(path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}"))
    return sorted(whole, key=checkpoint_step)


def checkpoint_step(checkpoint: Path) -> int:
    """The number of optimizer steps after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))
