"""Remove units step by step while the network is trained, or in a few steps without training.

At a step all units are measured in the network as it is, those that lose least within the step's budget are chosen,
and the layers behind removed units are refitted. Units that were removed stay so. The network keeps its shapes, with
the removed units' weights held at zero, until `models.removal` makes it smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.distributed.collectives import broadcast_masks, broadcast_weights
from sdp.models.units import Part
from sdp.pipeline.progress import Reporter
from sdp.pruning.layer_inputs import linear_layers, set_weight_and_bias, weight_and_bias
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import Masks, sparsity_of
from sdp.pruning.replay import Batch
from sdp.pruning.structured.choice import choose_units
from sdp.pruning.structured.costs import UnitCosts
from sdp.pruning.structured.measures import PartMeasures, measure_units
from sdp.pruning.structured.refit import refitted_to_kept
from sdp.pruning.structured.unit_masks import kept_masks, kept_units
from sdp.training.hooks import Hook

# Removed units lose nothing more; below those that happen to be of no importance.
_REMOVED = -1e-30

BeforeUpdate = Callable[[Mapping[str, nn.Parameter], Masks, Masks], None]


@dataclass(frozen=True)
class UnitRemoval:
    """What is removed from which network.

    Attributes:
        model: the network.
        parts: of it.
        costs: of the units.
        batches: the rows on which they are measured.
        seed: of the labels that the network draws.
        reporter: shows progress.
    """

    model: PreTrainedModel
    parts: Sequence[Part]
    costs: UnitCosts
    batches: Sequence[Batch]
    seed: int
    reporter: Reporter

    def steps(
        self, masked: MaskedWeights, plan: Mapping[int, float], before_update: BeforeUpdate | None = None
    ) -> RemovalSteps:
        """Return the hook that removes units; see `RemovalSteps`."""
        return RemovalSteps(self, masked, plan, before_update)


class RemovalSteps(Hook):
    """A hook that removes units at the steps of a plan.

    Args:
        removal: what is removed.
        masked: the network's weights, listed before this hook.
        plan: step -> share of the way to the target, rising to 1.
        before_update: called with the weights, their masks, and the masks that they get.

    Raises:
        ModelError: two layers share a weight.
    """

    def __init__(
        self,
        removal: UnitRemoval,
        masked: MaskedWeights,
        plan: Mapping[int, float],
        before_update: BeforeUpdate | None = None,
    ) -> None:
        self._removal = removal
        self._parts = removal.parts
        self._masked = masked
        self._plan = plan
        self._before_update = before_update
        self._outputs = linear_layers(removal.model, [part.output for part in removal.parts])

    def changes_weights(self, step: int) -> bool:
        """Whether units are removed after this step."""
        return step in self._plan

    def after_step(self, step: int) -> dict[str, float] | None:
        """Remove units, after a step of the plan; return the share of the weights that is removed."""
        if step not in self._plan:
            return None
        own = self._removal
        measured = measure_units(own.model, own.parts, own.batches, own.seed + step, own.reporter)
        before = kept_units(self._parts, self._masked.masks)
        kept = self._choose(measured, before, self._plan[step])
        masks = kept_masks(self._parts, kept, self._masked.weights)
        broadcast_masks(masks)
        kept = kept_units(self._parts, masks)
        if self._before_update is not None:
            self._before_update(self._masked.weights, self._masked.masks, masks)
        with torch.no_grad():
            fitted = {
                part.output: self._refitted(part, measured[part.name], kept[part.name])
                for part in self._parts
                if bool((kept[part.name] != before[part.name]).any())
            }
            self._masked.set(masks, last=step == max(self._plan))
            for name, values in fitted.items():
                set_weight_and_bias(self._outputs[name], values)
                broadcast_weights(self._outputs[name].parameters())
        sparsity = sparsity_of(self._masked.masks)
        self.note = f"{sparsity:.0%} removed"
        return {"wanted": sparsity, "sparsity": sparsity}

    def _choose(
        self, measured: Mapping[str, PartMeasures], before: Mapping[str, Tensor], share: float
    ) -> dict[str, Tensor]:
        importances = {name: own.importance.masked_fill(~before[name], _REMOVED) for name, own in measured.items()}
        costs = self._removal.costs
        chosen = choose_units(importances, costs.counts, costs.costs, costs.budget(share))
        return {name: own & before[name] for name, own in chosen.items()}

    def _refitted(self, part: Part, measures: PartMeasures, kept: Tensor) -> Tensor:
        inputs = torch.zeros(part.columns.numel(), dtype=torch.bool)
        inputs[part.columns[kept].flatten()] = True
        values = weight_and_bias(self._outputs[part.output])
        with_bias = torch.cat([inputs, inputs.new_ones(values.shape[1] - len(inputs))])
        return refitted_to_kept(values, measures.gram, with_bias)


def remove_at_once(removal: UnitRemoval, masked: MaskedWeights, rounds: int) -> None:
    """Remove units without training, in a few steps, of which each measures what the ones before it left.

    Args:
        removal: what is removed.
        masked: the network's weights.
        rounds: number of steps.
    """
    plan = {step: step / rounds for step in range(1, rounds + 1)}
    steps = removal.steps(masked, plan)
    for step in plan:
        steps.after_step(step)
