"""Second-order pruning: what the loss rises when a weight goes and its neighbours make up for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import torch
from torch import Tensor

from sdp.pruning.criteria.base import Criterion, Scores, Setup, Weights, without_pruned
from sdp.pruning.fisher import obs_group_scores, obs_group_update, obs_scores, obs_update
from sdp.pruning.masks import BLOCK, Masks


class OBert(Criterion):
    """Optimal brain surgeon: w^2 / (2 [F^-1]_qq), and an update of the kept weights (oBERT, arXiv 2203.07259).

    F is the empirical Fisher matrix in blocks of 50 consecutive weights, from the gradients of the last
    `fisher_gradients` steps before an update (of fewer where updates are closer); between, nothing is stored. With a
    new mask, the kept weights of a block take over what its pruned weights did, all of them at once. Pruned weights
    count as without gradient, so that F belongs to the current network. Comparable between layers.

    With the pattern 1x4 a block of four Q has one score, w_Q^T (F^-1[Q, Q])^-1 w_Q / 2, and F has blocks of 32 weights,
    so that none of the four is in another one. Scores are those of removing one weight or four alone. The update is
    exact, for this F, for everything that goes at once.
    """

    def __init__(self, weights: Weights, setup: Setup) -> None:
        super().__init__(weights, setup)
        self._gradients: list[dict[str, Tensor]] = []
        self._in_fours = setup.settings.zeros == "1x4"

    def scores(self, masks: Masks) -> Scores:
        """Rise of the loss for each weight, or a quarter of that for each block of four."""
        scores = {name: self._scores(weight, self._of(name)) for name, weight in self.weights.items()}
        return without_pruned(scores, masks)

    def _scores(self, weight: Tensor, gradients: Tensor) -> Tensor:
        if not self._in_fours:
            return obs_scores(weight, gradients)
        # Masks rank the sum over a block.
        return (obs_group_scores(weight, gradients, BLOCK) / BLOCK).repeat_interleave(BLOCK, dim=1)

    def observe(self, masks: Masks, step: int) -> None:
        """Keep the gradients where an update is near."""
        following = bisect_left(self.setup.updates, step)
        if following == len(self.setup.updates):
            return
        if self.setup.updates[following] - step < self.setup.settings.fisher_gradients:
            self._gradients.append(
                {
                    name: weight.grad * masks[name] if weight.grad is not None else torch.zeros_like(weight)
                    for name, weight in self.weights.items()
                }
            )

    @torch.no_grad()
    def before_masks_change(self, old: Masks, new: Masks) -> None:
        """Update the kept weights, and forget the gradients."""
        for name, weight in self.weights.items():
            update = obs_group_update if self._in_fours else obs_update
            weight.add_(update(weight, self._of(name), new[name]))
        self._gradients = []

    def _of(self, name: str) -> Tensor:
        # Never empty: the step of an update is always among them.
        return torch.stack([gradients[name].reshape(-1) for gradients in self._gradients])

    def state(self) -> dict[str, Tensor]:
        """The gradients."""
        return {
            f"gradient.{index}:{name}": gradient
            for index, gradients in enumerate(self._gradients)
            for name, gradient in gradients.items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """The gradients."""
        count = len(state) // len(self.weights)
        self._gradients = [
            {name: state[f"gradient.{index}:{name}"].to(weight.device) for name, weight in self.weights.items()}
            for index in range(count)
        ]
