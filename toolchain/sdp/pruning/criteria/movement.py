"""Movement pruning: weights that training moves away from zero are kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sdp.pruning.criteria.base import Criterion, Scores, Setup, Weights, copy_prefixed, prefixed
from sdp.pruning.masks import Masks


class Movement(Criterion):
    """Accumulated movement: S = -sum over steps of w * dL/dw, with straight-through gradients (arXiv 2005.07683).

    A pruned weight is 0 in the model, but keeps the value it had: its score goes on with that value and the gradient at
    0, and if the score rises above the threshold, the weight comes back with it. (The paper multiplies S by a learning
    rate, which changes no rank.) Comparable between layers: every term is a change of the same loss.
    """

    def __init__(self, weights: Weights, setup: Setup) -> None:
        super().__init__(weights, setup)
        self._movement = {name: torch.zeros_like(weight.detach()).float() for name, weight in weights.items()}
        # Values of pruned weights, 0 where a weight is kept: weight + hidden is the value of both.
        self._hidden = {name: torch.zeros_like(weight.detach()) for name, weight in weights.items()}

    def scores(self, masks: Masks) -> Scores:
        """S, of pruned weights too."""
        return self._movement

    @torch.no_grad()
    def observe(self, masks: Masks, step: int) -> None:
        """Add a step to the sums."""
        for name, weight in self.weights.items():
            if weight.grad is not None:
                movement = self._movement[name]
                movement.addcmul_(weight, weight.grad, value=-1)
                movement.addcmul_(self._hidden[name], weight.grad, value=-1)

    @torch.no_grad()
    def before_masks_change(self, old: Masks, new: Masks) -> None:
        """Hide what is pruned now, bring back what is not pruned any more."""
        for name, weight in self.weights.items():
            value = weight.masked_fill(~old[name], 0.0) + self._hidden[name]
            self._hidden[name] = value.masked_fill(new[name], 0.0)
            weight.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Sums and hidden values."""
        return {**prefixed("movement", self._movement), **prefixed("hidden", self._hidden)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Sums and hidden values."""
        copy_prefixed("movement", state, self._movement)
        copy_prefixed("hidden", state, self._hidden)
