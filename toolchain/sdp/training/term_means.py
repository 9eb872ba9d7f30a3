"""Means of a loss's terms between two log records, without waiting for the device in between."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdp.distributed.collectives import rank_count, sum_parts

# In a checkpoint: what was added up since the last log record before it.
STATE_FILE = "terms.safetensors"


class TermMeans:
    """Adds up the terms of each step on their device; reading them is the only synchronization."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add the terms of one batch: name -> scalar without gradient."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The mean of every term since the last call, each over the batches that had it, and over the ranks."""
        sums = {name: total.clone() for name, total in sorted(self._sums.items())}
        sum_parts(sums)
        means = {name: sums[name].item() / (self._counts[name] * rank_count()) for name in self._sums}
        self._sums, self._counts = {}, {}
        return means

    def even_out(self) -> None:
        """Sum over the ranks, so that any rank's sums are sufficient to resume. All ranks must call this."""
        if rank_count() > 1:
            self._sums = {name: total.clone() for name, total in sorted(self._sums.items())}
            sum_parts(self._sums)
            self._sums = {name: total / rank_count() for name, total in self._sums.items()}

    def save(self, folder: Path) -> None:
        """Write sums and counts into a checkpoint."""
        # Copies: after a single batch a term may be the loss itself, and a file has no place for the same tensor twice.
        sums = {f"sum {name}": total.cpu().reshape(()).clone() for name, total in self._sums.items()}
        counts = {f"count {name}": torch.tensor(count) for name, count in self._counts.items()}
        save_file(sums | counts, folder / STATE_FILE)

    def load(self, folder: Path, device: torch.device) -> None:
        """Go on from a checkpoint."""
        # safetensors takes no "cpu:0", which is what a device is called under torchrun.
        state = load_file(folder / STATE_FILE)
        self._sums = {name.removeprefix("sum "): t.to(device) for name, t in state.items() if name.startswith("sum ")}
        self._counts = {name: int(state[f"count {name}"]) for name in self._sums}
