"""Criteria of first order: running means of |gradient| and of |weight * gradient|."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sdp.pruning.criteria.base import Criterion, Scores, Setup, Weights, copy_prefixed, prefixed, without_pruned
from sdp.pruning.masks import Masks


class Gradient(Criterion):
    """Sensitivity: |dL/dw|, exponential mean over steps with decay 0.99.

    The mean is over about the last hundred steps. It starts at zero: a factor common to all weights, which changes no
    rank. Gradients of different layers differ in scale: with scope = "global" whole layers may go.
    """

    decay: ClassVar[float] = 0.99

    def __init__(self, weights: Weights, setup: Setup) -> None:
        super().__init__(weights, setup)
        self._means = {name: torch.zeros_like(weight.detach()).float() for name, weight in weights.items()}

    def scores(self, masks: Masks) -> Scores:
        """The running means."""
        return without_pruned(self._means, masks)

    @torch.no_grad()
    def observe(self, masks: Masks, step: int) -> None:
        """Add a step to the means."""
        for name, weight in self.weights.items():
            if weight.grad is not None:
                self._means[name].lerp_(self._term(weight, weight.grad).float(), 1 - self.decay)

    def _term(self, weight: Tensor, gradient: Tensor) -> Tensor:
        return gradient.abs()

    def state(self) -> dict[str, Tensor]:
        """The means."""
        return prefixed("mean", self._means)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """The means."""
        copy_prefixed("mean", state, self._means)


class Taylor(Gradient):
    """What the loss would change to first order without the weight: |w * dL/dw| (arXiv 1906.10771), mean as above.

    Comparable between layers: all scores are changes of the same loss.
    """

    def _term(self, weight: Tensor, gradient: Tensor) -> Tensor:
        return (weight * gradient).abs_()


class Momentum(Taylor):
    """Momentum of first-order changes: S <- 0.9 S + |w * dL/dw| at every step, the mean as above up to a factor.

    It forgets within ten steps, and follows the network and the loss as they are at a mask update, where Taylor's mean
    still holds scores of weights before the last one.
    """

    decay: ClassVar[float] = 0.9
