"""The section `[prune]`: what is pruned, when, and what the pruned network learns from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sdp.recipe.base import TrainingSection
from sdp.recipe.losses import CrossCorrelationLoss, Loss


class PruneSection(TrainingSection):
    """Iterative pruning of the encoder's linear weights while distilling from the fine-tuned network."""

    sparsity: float = Field(default=0.9, ge=0, lt=1)
    """Share of the encoder's linear weights that ends as zeros."""
    criterion: Literal["magnitude"] = "magnitude"
    """What is kept: the weights of the largest absolute value."""
    scope: Literal["layer", "global"] = "layer"
    """Rank within every weight matrix, or over all of them together."""
    pattern: Literal["unstructured", "1x4"] = "unstructured"
    """unstructured: any weight by itself; 1x4: blocks of four consecutive inputs, which int8 kernels take at once."""
    schedule: Literal["cubic", "uniform"] = "cubic"
    """cubic: fast first, then slower; uniform: equal steps with retraining between them."""
    ramp: float = Field(default=0.6, gt=0, le=1)
    """Share of the steps in which sparsity rises; the rest recovers at the final mask."""
    mask_updates: int = Field(default=20, gt=0)
    """How often the mask is recomputed during the ramp, evenly spaced; the last one reaches the final sparsity."""
    losses: tuple[Loss, ...] = Field(default=(CrossCorrelationLoss(name="cross-correlation"),), min_length=1)
    """What the pruned network learns from, besides the labels."""

    @field_validator("losses")
    @classmethod
    def _losses_fit(cls, losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
        names = [loss.name for loss in losses]
        if len(set(names)) < len(names):
            raise ValueError("each loss may be listed once")
        if "none" in names and len(names) > 1:
            raise ValueError('"none" stands alone; remove it or the others')
        return losses
