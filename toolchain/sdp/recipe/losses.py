"""The losses of `[[prune.losses]]`: one frozen model for each, told apart by its name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdp.recipe.base import Section


class NoLoss(Section):
    """Task loss only: plain pruning without a teacher."""

    name: Literal["none"]
    """The labels alone."""


class KldLoss(Section):
    """Soft labels: (1 - weight) * CE + weight * temperature^2 * KL(teacher || student)."""

    name: Literal["kld"]
    """Soft labels of the fine-tuned network."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the soft labels against the task loss."""
    temperature: float = Field(default=2.0, gt=0)
    """Both softmaxes are flattened by it."""


class CrossCorrelationLoss(Section):
    """Self-distillation: the cross-correlation matrix of student and teacher features is drawn to the identity."""

    name: Literal["cross-correlation"]
    """Representations of the fine-tuned network."""
    weight: float = Field(default=1.0, ge=0)
    """Factor of L_CC / d, added to the task loss."""
    off_diagonal: float = Field(default=0.005, ge=0)
    """Weight of the off-diagonal terms (Barlow Twins' lambda, 0.0051 there)."""
    representation: Literal["mean", "first", "tokens"] = "mean"
    """Rows of the matrix: masked mean or first token of the last layer for each example, or every real token."""


Loss = Annotated[NoLoss | KldLoss | CrossCorrelationLoss, Field(discriminator="name")]
LOSSES: dict[str, type[Section]] = {"none": NoLoss, "kld": KldLoss, "cross-correlation": CrossCorrelationLoss}
