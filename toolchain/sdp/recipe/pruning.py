"""The recipe's [prune]: criterion, schedule and losses of pruning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sdp.recipe.base import Rate, TrainingSection
from sdp.recipe.criteria import CRITERIA, criteria_description
from sdp.recipe.losses import LOSSES, CrossCorrelationLoss, LossSettings, SquaredErrorLoss, losses_reading

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

    filled_in: ClassVar[Mapping[str, str]] = {
        **TrainingSection.filled_in,
        "mask_updates": "updates",
        "max_layer_sparsity": "layer_cap",
        "labels": "learns_labels",
        "freeze_head": "head_stays",
        "freeze_embeddings": "embeddings_stay",
    }

    epochs: float | None = Field(default=None, ge=0)
    """Passes over the training rows; without it and `steps` 3, or as many as take 3,000 steps if that is more. 0 prunes
    without training, in minutes: the weights of each layer that stay are refitted by least squares to what the layer
    computed."""
    learning_rate: float = Field(default=5e-4, gt=0, lt=1)
    """Peak of the schedule: a linear warm-up, a constant part, and a linear fall to 0. The default was measured on
    encoders 384 wide; wider ones need less."""
    weight_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decoupled weight decay of AdamW."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    decay: float = Field(default=0.4, gt=0, le=1)
    """Share of the steps, at the end, in which the learning rate falls. 1: it falls from the warm-up on."""
    betas: tuple[Rate, Rate] = (0.9, 0.9)
    """Decay rates of AdamW's running means of the gradients and of their squares."""
    sparsity: float = Field(default=0.9, ge=0, lt=1)
    """Share of the encoder's linear weights that ends as zeros. 0 leaves the model as it is, without training
    (`epochs = 0`)."""
    target_speedup: float | None = Field(default=None, gt=1)
    """scope = "allocated" or pattern = "structured" only, in place of sparsity: how many times as fast as the dense
    file the exported one shall be, with the first batch size, length and number of threads of [bench], and its
    provider, on the machine that prunes."""
    layers: int | None = Field(default=None, gt=0)
    """Keep the first layers of the fine-tuned network, so many, and prune their weights; the teacher has all layers.
    sparsity is of the weights of the layers that are kept: 0 removes the other layers alone. It takes training: the
    classifier reads the output of another layer than before."""
    criterion: Criterion = Field(default="momentum", description=criteria_description())
    scope: Literal["layer", "global", "allocated"] = "global"
    """layer: rank within every weight matrix, all of which get the same sparsity; global: rank over all of them
    together (with epochs = 0 as "layer"); allocated: rank within every matrix at a sparsity of its own, chosen before
    pruning starts such that the errors of the layers' outputs add up to the least."""
    max_layer_sparsity: float | None = Field(default=None, gt=0, le=1)
    """scope = "global" or "allocated" only: largest share of any one matrix that is pruned. Without it "global" prunes
    at most 0.98, or halfway from `sparsity` to 1 if that is more."""
    pattern: Literal["unstructured", "1x4", "2:4", "structured"] = "unstructured"
    """unstructured: any weight by itself; 1x4: blocks of four consecutive inputs, which int8 kernels take at once; 2:4:
    two of every four consecutive inputs are kept, as sparse tensor cores expect, with sparsity = 0.5; structured: whole
    heads and feed-forward neurons are removed, which makes a smaller dense network that needs no operator library."""
    schedule: Literal["cubic", "uniform"] = "cubic"
    """cubic: fast first, then slower; uniform: equal steps with retraining between them."""
    ramp: float = Field(default=0.6, gt=0, le=1)
    """Share of the steps in which sparsity rises; the rest recovers at the final mask."""
    mask_updates: int | None = Field(default=None, gt=0)
    """How often the mask is recomputed during the ramp, evenly spaced; the last one reaches the final sparsity. Without
    the key 30 times. With pattern = "structured" 8 times, and 4 without training: all heads and neurons are measured
    anew each time."""
    repair: bool = False
    """After each mask update, refit the weights that stay, layer by layer and by least squares, to what the dense
    network's layers compute on some rows. It takes the time of many steps: `sdp check` estimates it."""
    quantization_aware: float = Field(default=0.0, ge=0, le=1)
    """export.precision = "int8" only: share of the steps, at the end, in which the network computes as the exported
    file will, rounding included, and learns to make up for it; evaluation then scores that network, too. Usual is a
    part of the recovery, such as 0.1 to 0.3: with more than 1 - ramp sparsity still rises in the phase."""
    calibration_rows: int = Field(default=512, gt=0)
    """epochs = 0, repair, scope = "allocated" or pattern = "structured" only: rows, those without labels among them, on
    which the inputs of layers are measured, and heads and neurons."""
    fisher_gradients: int = Field(default=32, gt=0, le=256)
    """obert only: gradients of single steps, just before a mask update, that make up its Fisher matrix. Each takes as
    much memory as the pruned weights."""
    gate_penalty: float = Field(default=100.0, ge=0)
    """l0 only: weight, in the loss of the gates, of the mean probability that a gate is open."""
    start: str | None = Field(default=None, min_length=1)
    """Go on from here instead of from the dense network: the folder 2-prune of a finished run with the same fine-tuned
    model, scope and pattern, and a lower sparsity. Weights pruned there stay pruned. Or of one with pattern =
    "structured": the smaller network that it left is pruned, and sparsity is of the weights that it has."""
    teacher: str | None = Field(default=None, min_length=1)
    """Learn from another classifier of the same task than the fine-tuned network: a run folder of sdp (its fine-tuned
    model), or a hub id, a folder or "package:NAME/FOLDER" of a model with a trained head. It reads texts with its own
    tokenizer, cut at data.max_length. kld fits every teacher of the task; losses that compare representations need its
    width to be the model's, and those of every token equal tokens too."""
    labels: bool | None = None
    """Learn from the labels, besides the losses. false: from the losses alone, which compare with the fine-tuned
    network and need no label. Without the key, from the labels where no loss compares features of both networks."""
    freeze_head: bool | None = None
    """Keep pooler and classifier as fine-tuning left them: they stand behind the encoder, and are not pruned. Without
    the key, where the labels are not learned."""
    freeze_embeddings: bool | None = None
    """Keep the table of the vocabulary's embeddings as fine-tuning left it, which saves the time and memory of training
    it. Without the key, where the labels are not learned."""
    dropout: bool = False
    """Apply the model's dropout. false: the pruned network computes in training what it computes in use."""
    augment: int = Field(default=0, ge=0)
    """Rows without labels to make from the training rows, by crossing two or replacing words of one by another's; they
    are learned from like those of data.unlabeled."""
    unlabeled_share: float = Field(default=0.5, gt=0, lt=1)
    """With data.unlabeled or augment: share of the steps whose batch is of unlabelled rows."""
    losses: tuple[Loss, ...] = Field(
        default=(
            SquaredErrorLoss(name="squared-error", weight=3),
            CrossCorrelationLoss(name="cross-correlation", representation="tokens"),
        ),
        min_length=1,
    )
    """What the pruned network learns from: these, and the labels as `labels` sets it."""

    @property
    def least_steps(self) -> int:
        """Fewer recover too little of what a high sparsity takes."""
        return 3000

    @property
    def structured(self) -> bool:
        """Whether whole units are removed."""
        return self.pattern == "structured"

    @property
    def zeros(self) -> Literal["unstructured", "1x4", "2:4"]:
        """Which of the weights of the network that is left may be zero."""
        return "unstructured" if self.pattern == "structured" else self.pattern

    @property
    def updates(self) -> int:
        """mask_updates, or its default."""
        if self.mask_updates is not None:
            return self.mask_updates
        if not self.structured:
            return 30
        return 8 if self.trains else 4

    @property
    def layer_cap(self) -> float:
        """max_layer_sparsity, or its default."""
        if self.max_layer_sparsity is not None:
            return self.max_layer_sparsity
        return max(0.98, (1 + self.sparsity) / 2) if self.scope == "global" else 1.0

    @property
    def learns_labels(self) -> bool:
        """labels, or its default."""
        return self.labels if self.labels is not None else not any(loss.reads == "rows" for loss in self.losses)

    @property
    def head_stays(self) -> bool:
        """freeze_head, or its default."""
        return self.freeze_head if self.freeze_head is not None else not self.learns_labels

    @property
    def embeddings_stay(self) -> bool:
        """freeze_embeddings, or its default."""
        return self.freeze_embeddings if self.freeze_embeddings is not None else not self.learns_labels

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
        if not self.trains and self.repair:
            raise ValueError("epochs = 0 refits each layer in any case; remove repair")
        for name in () if self.trains else ("criterion", "start"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"epochs = 0 has a score of its own within each layer; remove {name}")
        if not self.trains and self.quantization_aware > 0:
            raise ValueError("epochs = 0 trains nothing, and quantization_aware is a part of training; remove it")
        return self

    @model_validator(mode="after")
    def _first_layers_fit(self) -> PruneSection:
        if self.layers is None:
            return self
        if self.target_speedup is not None:
            raise ValueError("layers makes the network faster by itself; set sparsity in place of target_speedup")
        if self.scope == "allocated":
            raise ValueError('scope = "allocated" measures the network with all layers; remove layers, or set "global"')
        if self.repair:
            raise ValueError("repair refits to what the same layers of the dense network compute; remove it, or layers")
        for loss in self.losses:
            where = getattr(loss, "layers", ())
            if loss.reads == "weights" or where == "all":
                compared = "weights" if loss.reads == "weights" else "all layers"
                raise ValueError(f"{loss.name} compares {compared}, and layers removes some; name layers, such as [-1]")
            beyond = next((layer for layer in where if abs(layer) > self.layers), None)
            if beyond is not None:
                raise ValueError(f"{loss.name} asks for layer {beyond}, and layers = {self.layers}")
        return self

    @model_validator(mode="after")
    def _something_is_learned(self) -> PruneSection:
        if not self.learns_labels and not any(loss.reads and loss.reads != "weights" for loss in self.losses):
            raise ValueError("labels = false leaves nothing to learn from; add a loss that compares outputs")
        return self

    @model_validator(mode="after")
    def _another_teacher_teaches(self) -> PruneSection:
        if self.teacher is None:
            return self
        if not self.trains:
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
        if self.layer_cap < 1 and self.scope == "layer":
            raise ValueError('max_layer_sparsity belongs to scope = "global" or "allocated"; set one, or remove it')
        if self.target_speedup is None and self.layer_cap < self.sparsity:
            raise ValueError(
                f"max_layer_sparsity = {self.layer_cap:g} leaves too little for sparsity = {self.sparsity:g}"
            )
        return self

    @model_validator(mode="after")
    def _allocation_fits(self) -> PruneSection:
        if self.target_speedup is not None and self.sparsity != type(self).model_fields["sparsity"].default:
            raise ValueError("target_speedup stands in place of sparsity; remove one of them")
        if self.scope != "allocated":
            if self.target_speedup is not None and not self.structured:
                raise ValueError(
                    'target_speedup needs scope = "allocated", which gives each matrix a sparsity, or '
                    'pattern = "structured"'
                )
            return self
        if self.pattern == "2:4":
            raise ValueError('pattern = "2:4" prunes half of every matrix, and scope = "allocated" has no choice')
        if self.start is not None:
            raise ValueError('scope = "allocated" measures the dense network, and cannot start from a pruned one')
        return self

    @model_validator(mode="after")
    def _units_have_a_score_of_their_own(self) -> PruneSection:
        if not self.structured:
            return self
        set_here = [
            name
            for name in ("criterion", "scope", "repair", "start")
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        # 1 limits nothing.
        set_here += ["max_layer_sparsity"] if self.max_layer_sparsity not in (None, 1) else []
        for name in set_here:
            raise ValueError(
                f'pattern = "structured" chooses and refits heads and neurons by measures of its own; remove {name}'
            )
        return self

    @model_validator(mode="after")
    def _pattern_and_criterion_fit(self) -> PruneSection:
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise ValueError(f'pattern = "2:4" keeps two of four, not {1 - self.sparsity:.0%}; set sparsity = 0.5')
        row = CRITERIA[self.criterion]
        if self.repair and row.holds_weights:
            raise ValueError(
                f'criterion = "{row.name}" computes the weights from others that it holds aside: repair would be lost; '
                "use another criterion, or remove repair"
            )
        if row.like_within_layer and self.scope != "global":
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
