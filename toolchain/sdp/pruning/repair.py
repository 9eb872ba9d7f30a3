"""Repair after a mask update: what is kept is refitted so that each layer computes what the dense network's does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.distributed.collectives import broadcast_weights, rank_slice, sum_parts
from sdp.models.layers import prunable_weights
from sdp.pruning.layer_inputs import (
    LayerInputs,
    inputs_by_group,
    layer_groups,
    linear_layers,
    set_weight_and_bias,
    weight_and_bias,
)
from sdp.pruning.least_squares import damped, refitted
from sdp.pruning.masks import Masks, apply_masks
from sdp.pruning.replay import Batch, evaluating

DAMPING = 0.01
"""What is added to the diagonal of a Gram matrix, as a share of its mean."""
SOLVER_STEPS = 20
"""Most steps of a refit. It starts from weights that training has fitted, and happens at every mask update."""


def repair_layer(layer: nn.Linear, dense: nn.Linear, inputs: LayerInputs, mask: Tensor) -> None:
    """Refit the kept weights of a layer, and its bias, to the dense layer's outputs.

    W' minimizes sum over tokens |W' x - W_d x_d|^2 + damping |W' - W|^2 under the mask, with the inputs x and weights W
    of the pruned network, and x_d and W_d of the dense one. The error on these tokens never rises: W itself has no
    second term.

    Args:
        layer: of the pruned network; changed in place.
        dense: the same layer of the dense one.
        inputs: of the layer.
        mask: bool [out, in], True where a weight is kept; 0 elsewhere already.
    """
    before = weight_and_bias(layer)
    gram = damped(inputs.gram, DAMPING)
    wanted = weight_and_bias(dense).double() @ inputs.cross + before.double() @ (gram - inputs.gram)
    kept = torch.cat([mask, mask.new_ones(len(mask), before.shape[1] - mask.shape[1])], dim=1)
    fitted = refitted(wanted.to(before.dtype), gram.to(before.dtype), kept, start=before, steps=SOLVER_STEPS)
    set_weight_and_bias(layer, fitted)


class Repair:
    """Refits all layers of a network in training, in the order in which it runs them.

    A layer's inputs are those that the repaired layers before it give. The optimizer's moments stay as they are, as
    where a criterion changes weights. Several processes measure a part of the rows each, and have the same weights
    afterwards.

    Args:
        model: the network in training.
        dense: the dense one, on the same device.
        batches: the calibration rows.
        bf16: compute both networks' products in bfloat16; sums and solutions are float32 and float64.

    Raises:
        ModelError: two layers share a weight, or the network does not call the module of a layer.
    """

    def __init__(
        self, model: PreTrainedModel, dense: PreTrainedModel, batches: Sequence[Batch], *, bf16: bool = False
    ) -> None:
        names = list(prunable_weights(model))
        self._model, self._dense = model, dense
        self._layers, self._dense_layers = (linear_layers(network, names) for network in (model, dense))
        self._batches = batches
        self._bf16 = bf16
        with torch.no_grad(), evaluating(dense):
            self._groups = layer_groups(dense, names, batches[0])

    @torch.no_grad()
    def __call__(self, masks: Masks) -> None:
        """Repair the network.

        Args:
            masks: what its weights are held to.
        """
        own = rank_slice(len(self._batches))
        with evaluating(self._model), evaluating(self._dense):
            measured = inputs_by_group(self._model, self._dense, self._groups, self._batches, own=own, bf16=self._bf16)
            for inputs in measured:
                for name, sums in inputs.items():
                    layer = self._layers[name]
                    sum_parts({"gram": sums.gram, "cross": sums.cross})
                    repair_layer(layer, self._dense_layers[name], sums, masks[name])
                    apply_masks({name: layer.weight}, {name: masks[name]})
                    broadcast_weights(layer.parameters())
