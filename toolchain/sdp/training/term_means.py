"""Means of a loss's terms between two log records, without waiting for the device in between."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


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
        """The mean of every term since the last call, each over the batches that had it."""
        means = {name: total.item() / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means
