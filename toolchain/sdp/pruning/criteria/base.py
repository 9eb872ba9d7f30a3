"""The interface of a pruning criterion: scores of the weights, and the events of training that it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sdp.models.architectures import Architecture
from sdp.pruning.masks import Masks
from sdp.recipe.pruning import PruneSection

Weights = Mapping[str, nn.Parameter]
Scores = dict[str, Tensor]


@dataclass(frozen=True)
class Setup:
    """The inputs of criteria besides the weights.

    Attributes:
        seed: of everything random.
        updates: the optimizer steps after which masks are updated.
        settings: the recipe's [prune], with the keys of each criterion.
        architecture: the row of the model's kind; None for one that the table does not have.
    """

    seed: int = 0
    updates: tuple[int, ...] = ()
    settings: PruneSection = field(default_factory=PruneSection)
    architecture: Architecture | None = None


class Criterion:
    """Base of all criteria. The weights in the model are the effective ones, W * M, at all times.

    Order of events in an optimizer step: `before_forward`, forward and backward, `observe`, gradients of pruned weights
    set to zero, clipping, the optimizer's step, `after_optimizer_step`, pruned weights set to zero; where an update is
    due: `scores`, `before_masks_change`, pruned weights set to zero. After the last update a criterion is done with: it
    sees nothing of the recovery phase.

    By default, pruned weights have a score of -inf, so that masks only ever shrink.

    Args:
        weights: name -> parameter of the model.
        setup: settings.
    """

    def __init__(self, weights: Weights, setup: Setup) -> None:
        self.weights = weights
        self.setup = setup

    def scores(self, masks: Masks) -> Scores:
        """Name -> score of each weight, float32 of its shape; the highest are kept."""
        raise NotImplementedError

    def before_forward(self, masks: Masks, step: int) -> None:
        """Called before each forward pass of optimizer step `step` (from 1 on)."""

    def observe(self, masks: Masks, step: int) -> None:
        """Called once a step, with the whole batch's gradients in `.grad`, those of pruned weights among them.

        As pruned weights are zeros in the model, these are gradients by the effective weights: what a straight-through
        estimator takes for the gradients of the weights before masking.
        """

    def after_optimizer_step(self, masks: Masks) -> None:
        """Called before the pruned weights are set to zero again."""

    def before_masks_change(self, old: Masks, new: Masks) -> None:
        """Called before the weights that `new` prunes are set to zero; may change any weight."""

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs to go on exactly like an unbroken one."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""


def without_pruned(scores: Mapping[str, Tensor], masks: Masks) -> Scores:
    """Copies of the scores with -inf for the pruned weights."""
    return {name: score.masked_fill(~masks[name], -math.inf) for name, score in scores.items()}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of a checkpoint: "PREFIX:NAME"."""
    return {f"{prefix}:{name}": tensor for name, tensor in tensors.items()}


def copy_prefixed(prefix: str, state: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    """Overwrite tensors with those that `prefixed` put into a checkpoint."""
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(state[f"{prefix}:{name}"])
