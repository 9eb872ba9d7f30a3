"""The recipe's [prune]: criterion, schedule and losses of pruning."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sdp.recipe.base import TrainingSection
from sdp.recipe.criteria import CRITERIA, criteria_description
from sdp.recipe.losses import LOSSES, CrossCorrelationLoss, LossSettings, losses_reading

if TYPE_CHECKING:
    Criterion = str
    Loss = LossSettings
else:
    Criterion = Literal[tuple(CRITERIA)]
    Loss = Annotated[reduce(or_, (row.settings for row in LOSSES.values())), Field(discriminator="name")]
from pydantic import Field

from sdp.recipe.base import Section


class PruneSection(TrainingSection):
    """Iterative pruning of the encoder's linear weights while distilling from the fine-tuned network."""

    epochs: float = Field(default=3.0, ge=0)
    """Passes over the training rows. 0 prunes without training, in minutes: the weights of each layer that stay are
    refitted by least squares to what the layer computed."""
    sparsity: float = Field(default=0.9, ge=0, lt=1)
    """Share of the encoder's linear weights that ends as zeros."""
    criterion: Criterion = Field(default="magnitude", description=criteria_description())
    scope: Literal["layer", "global"] = "layer"
    """Rank within every weight matrix, or over all of them together."""
    max_layer_sparsity: float = Field(default=1.0, gt=0, le=1)
    """scope = "global" only: largest share of any one matrix that is pruned."""
    pattern: Literal["unstructured", "1x4", "2:4"] = "unstructured"
    """unstructured: any weight by itself; 1x4: blocks of four consecutive inputs, which int8 kernels take at once; 2:4:
    two of every four consecutive inputs are kept, as sparse tensor cores expect, with sparsity = 0.5."""
    schedule: Literal["cubic", "uniform"] = "cubic"
    """cubic: fast first, then slower; uniform: equal steps with retraining between them."""
    ramp: float = Field(default=0.6, gt=0, le=1)
    """Share of the steps in which sparsity rises; the rest recovers at the final mask."""
    mask_updates: int = Field(default=20, gt=0)
    """How often the mask is recomputed during the ramp, evenly spaced; the last one reaches the final sparsity."""
    calibration_rows: int = Field(default=512, gt=0)
    """epochs = 0 only: rows, those without labels among them, on which the inputs of the layers are measured."""
    fisher_gradients: int = Field(default=32, gt=0, le=256)
    """obert only: gradients of single steps, just before a mask update, that make up its Fisher matrix. Each takes as
    much memory as the pruned weights."""
    gate_penalty: float = Field(default=100.0, ge=0)
    """l0 only: weight, in the loss of the gates, of the mean probability that a gate is open."""
    start: str | None = Field(default=None, min_length=1)
    """Go on from here instead of from the dense network: the folder 2-prune of a finished run with the same fine-tuned
    model, scope and pattern, and a lower sparsity. Weights pruned there stay pruned."""
    teacher: str | None = Field(default=None, min_length=1)
    """Learn from another classifier of the same task than the fine-tuned network: a run folder of sdp (its fine-tuned
    model), or a hub id, a folder or "package:NAME/FOLDER" of a model with a trained head. It reads texts with its own
    tokenizer, cut at data.max_length. kld fits every teacher of the task; losses that compare representations need its
    width to be the model's, and those of every token equal tokens too."""
    labels: bool = True
    """Learn from the labels, besides the losses. false: from the losses alone, which compare with the fine-tuned
    network and need no label."""
    freeze_head: bool = False
    """Keep pooler and classifier as fine-tuning left them: they stand behind the encoder, and are not pruned."""
    dropout: bool = True
    """Apply the model's dropout. false: the pruned network computes in training what it computes in use."""
    augment: int = Field(default=0, ge=0)
    """Rows without labels to make from the training rows, by crossing two or replacing words of one by another's; they
    are learned from like those of data.unlabeled."""
    unlabeled_share: float = Field(default=0.5, gt=0, lt=1)
    """With data.unlabeled or augment: share of the steps whose batch is of unlabelled rows."""
    losses: tuple[Loss, ...] = Field(default=(CrossCorrelationLoss(name="cross-correlation"),), min_length=1)
    """What the pruned network learns from: the labels, unless `labels = false`, and these."""

    @field_validator("losses")
    @classmethod
    def _losses_fit(cls, losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
        names = [loss.name for loss in losses]
        if len(set(names)) < len(names):
            raise ValueError("each loss may be listed once")
        if "none" in names and len(names) > 1:
            raise ValueError('"none" stands alone; remove it or the others')
        return losses

    @model_validator(mode="after")
    def _without_training(self) -> PruneSection:
        if self.epochs > 0:
            return self
        if self.steps is not None:
            raise ValueError("epochs = 0 trains nothing, and steps asks for training; remove one of them")
        for name, value in (("criterion", "magnitude"), ("scope", "layer"), ("start", None)):
            if getattr(self, name) != value:
                raise ValueError(f"epochs = 0 has a score of its own within each layer; remove {name}")
        return self

    @model_validator(mode="after")
    def _something_is_learned(self) -> PruneSection:
        if not self.labels and not any(loss.reads and loss.reads != "weights" for loss in self.losses):
            raise ValueError("labels = false leaves nothing to learn from; add a loss that compares outputs")
        return self

    @model_validator(mode="after")
    def _another_teacher_teaches(self) -> PruneSection:
        if self.teacher is None:
            return self
        if self.epochs == 0:
            raise ValueError("epochs = 0 refits to what the fine-tuned network computes; remove teacher")
        weights = [loss.name for loss in self.losses if loss.reads == "weights"]
        if weights:
            raise ValueError(
                f"{weights[0]} compares weights with those that pruning starts from, and teacher names another "
                f"network; losses that can learn from it: {losses_reading('logits', 'rows')}"
            )
        if not any(loss.reads for loss in self.losses):
            raise ValueError("no loss learns from teacher; add one, such as kld, or remove teacher")
        return self

    @model_validator(mode="after")
    def _cap_fits(self) -> PruneSection:
        if self.max_layer_sparsity < 1 and self.scope == "layer":
            raise ValueError('max_layer_sparsity belongs to scope = "global"; set that, or remove it')
        if self.max_layer_sparsity < self.sparsity:
            raise ValueError(
                f"max_layer_sparsity = {self.max_layer_sparsity:g} leaves too little for sparsity = {self.sparsity:g}"
            )
        return self

    @model_validator(mode="after")
    def _pattern_and_criterion_fit(self) -> PruneSection:
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise ValueError(f'pattern = "2:4" keeps two of four, not {1 - self.sparsity:.0%}; set sparsity = 0.5')
        row = CRITERIA[self.criterion]
        if row.like_within_layer and self.scope == "layer":
            raise ValueError(
                f'criterion = "{row.name}" ranks within a layer as {row.like_within_layer} does; set scope = "global"'
            )
        if self.start is not None and row.remembers_pruned:
            raise ValueError(
                f'criterion = "{row.name}" needs its state of pruned weights, which a finished pruning '
                "does not store: it cannot start from one; use another criterion"
            )
        for other in CRITERIA.values():
            for name in other.settings if other is not row else ():
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f'{name} belongs to criterion = "{other.name}"; remove it')
        return self


class AnalysisSection(Section):
    """Effect of pruning on the network, measured around every mask update: separability, signal-to-noise ratio,
    similarity to the teacher, recovery. It changes no weight."""

    rows: int | None = Field(default=None, ge=0)
    """Dev rows that are measured, always the same; more rows give steadier values and take longer. 0: no analysis.
    Without it 32 to 256, so that all measurements together take a small part of the training time."""
    between: int = Field(default=1, ge=0)
    """Measurements between two mask updates, for the curve of recovery; after the last update five times as many."""
