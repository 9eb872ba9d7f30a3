"""Sparseness of weights before pruning."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

NEAR_ZERO = 1e-3


def share_below(magnitudes: Tensor, largest: float) -> float | None:
    """Share of weights smaller than 1e-3 of the largest; None without weights, or where all are zero.

    Args:
        magnitudes: |w| of the weights, [n].
        largest: the largest |w| of the group that they are compared with.
    """
    if magnitudes.numel() == 0 or largest == 0:
        return None
    return int((magnitudes < NEAR_ZERO * largest).sum()) / magnitudes.numel()


@dataclass(frozen=True)
class Norms:
    """Number, sum of magnitudes and sum of squares of some weights; those of two groups add up."""

    count: int = 0
    l1: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, magnitudes: Tensor) -> Norms:
        """Those of |w|, [n], summed in float64."""
        exact = magnitudes.double()
        return cls(exact.numel(), float(exact.sum()), float(exact.square().sum()))

    def __add__(self, other: Norms) -> Norms:
        return Norms(self.count + other.count, self.l1 + other.l1, self.squares + other.squares)

    @property
    def hoyer(self) -> float | None:
        """Hoyer's sparseness, (sqrt(n) - l1 / l2) / (sqrt(n) - 1) (Hoyer, JMLR 5, 2004): 0 where all magnitudes are
        equal, 1 where a single weight is not zero; None with fewer than two weights, or where all are zero."""
        if self.count < 2 or self.squares == 0:
            return None
        root = math.sqrt(self.count)
        return (root - self.l1 / math.sqrt(self.squares)) / (root - 1)
