"""The losses of `[[prune.losses]]`: the settings of each, and one row with what it needs. Needs no torch.

`losses.terms` binds each name to its computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from sdp.recipe.base import Section

# What a loss compares of the pruned and the unpruned network: their logits, rows of features (`RowsLoss`), their
# prunable weights.
Reads = Literal["logits", "rows", "weights"]
Representation = Literal["pooled", "first", "mean", "tokens"]


class LossSettings(Section):
    """Base of the settings of all losses. Each declares its name and weight itself: their order is the reference's."""

    if TYPE_CHECKING:
        name: str
        weight: float = 1.0

    @property
    def reads(self) -> Reads | None:
        """What the loss compares, from its row."""
        return LOSSES[self.name].reads

    @property
    def shares(self) -> bool:
        """Whether its weight is a share, from its row."""
        return LOSSES[self.name].shares


class NoLoss(LossSettings):
    """Task loss only: plain pruning without a teacher."""

    name: Literal["none"]
    """The labels alone."""


class KldLoss(LossSettings):
    """Soft labels: (1 - weight) * CE + weight * temperature^2 * KL(teacher || student)."""

    name: Literal["kld"]
    """Soft labels of the fine-tuned network."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the soft labels against the task loss."""
    temperature: float = Field(default=2.0, gt=0)
    """Both softmaxes are flattened by it."""


class AddedLoss(LossSettings):
    """Base of the losses that are added to the task loss."""

    weight: float = Field(default=1.0, ge=0)
    """Factor of the loss, added to the task loss."""


class RowsLoss(AddedLoss):
    """Base of the losses that compare rows of features of some layers."""

    if TYPE_CHECKING:
        layers: tuple[int, ...] | Literal["all"]

    @property
    def rows(self) -> Representation:
        """Which rows are compared."""
        return "tokens"


class RepresentationLoss(RowsLoss):
    """Base of the losses that compare representations: which layers' and which rows."""

    representation: Representation = "mean"
    """Rows: what the classifier reads, the first token, the mean of the real tokens, or every real token."""
    layers: tuple[int, ...] | Literal["all"] = Field(default=(-1,), min_length=1)
    """Layers whose output is compared, 1 the first, -1 the last, 0 the embeddings' output; the loss is their mean."""

    @property
    def rows(self) -> Representation:
        """Which rows are compared."""
        return self.representation

    @model_validator(mode="after")
    def _pooled_is_no_layer(self) -> Self:
        if self.representation == "pooled" and self.layers != (-1,):
            raise ValueError('representation = "pooled" is what the classifier reads, not a layer; remove layers')
        return self


class CosineLoss(RepresentationLoss):
    """Self-distillation: mean of 1 - cosine between student and teacher representations."""

    name: Literal["cosine"]
    """Directions of the fine-tuned network's representations."""


class CrossCorrelationLoss(RepresentationLoss):
    """Self-distillation: the cross-correlation matrix of student and teacher features is drawn to the identity."""

    name: Literal["cross-correlation"]
    """Representations of the fine-tuned network, decorrelated."""
    off_diagonal: float = Field(default=0.005, ge=0)
    """Weight of the off-diagonal terms (Barlow Twins' lambda, 0.0051 there)."""


class HiddenLoss(RowsLoss):
    """Hidden states of the real tokens: sum over layers of |h_S - h_T|^2 / |h_T|^2 (SquareHead)."""

    name: Literal["hidden"]
    """The fine-tuned network's hidden states, normalized by their size."""
    layers: tuple[int, ...] | Literal["all"] = Field(default="all", min_length=1)
    """Layers whose output is compared, 1 the first, -1 the last, 0 the embeddings' output; "all" is 1 to the last."""


class SquaredErrorLoss(RowsLoss):
    """Hidden states of the real tokens: mean over tokens, features and layers of (h_S - h_T)^2."""

    name: Literal["squared-error"]
    """The fine-tuned network's hidden states."""
    layers: tuple[int, ...] | Literal["all"] = Field(default=(-1,), min_length=1)
    """Layers whose output is compared, 1 the first, -1 the last, 0 the embeddings' output; "all" is 1 to the last."""


class AlignCosineLoss(AddedLoss):
    """Aligned weights: mean over layers and output units of 1 - cosine between masked and fine-tuned weights."""

    name: Literal["align-cosine"]
    """Directions of the fine-tuned network's units."""


class AlignFrobeniusLoss(AddedLoss):
    """Aligned weights: mean over layers of |masked - fine-tuned|^2 / |fine-tuned|^2, Frobenius norms."""

    name: Literal["align-frobenius"]
    """The fine-tuned network's weights."""


@dataclass(frozen=True)
class LossRow:
    """One loss.

    Attributes:
        settings: its keys in a recipe.
        reads: what it compares of both networks; None for the labels alone, without a teacher.
        shares: its weight is a share, which the loss of the labels loses; other losses are added.
    """

    settings: type[LossSettings]
    reads: Reads | None = None
    shares: bool = False

    @property
    def shardable(self) -> bool:
        """Whether it works where each process has a part of the weights: others are read whole at every step."""
        return self.reads != "weights"


LOSSES = {
    "none": LossRow(NoLoss),
    "kld": LossRow(KldLoss, "logits", shares=True),
    "cosine": LossRow(CosineLoss, "rows"),
    "cross-correlation": LossRow(CrossCorrelationLoss, "rows"),
    "hidden": LossRow(HiddenLoss, "rows"),
    "squared-error": LossRow(SquaredErrorLoss, "rows"),
    "align-cosine": LossRow(AlignCosineLoss, "weights"),
    "align-frobenius": LossRow(AlignFrobeniusLoss, "weights"),
}


def losses_reading(*reads: Reads) -> str:
    """The names of the losses that compare one of these, for messages."""
    return ", ".join(name for name, row in LOSSES.items() if row.reads in reads)
