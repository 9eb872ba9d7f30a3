"""Prune without training: layer by layer, each refitted by least squares to what it computed before.

Minutes on a CPU. The layers before a layer are pruned already, so that it makes up for what they changed: its inputs
are those of the pruned network, and its wanted outputs those of the dense one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.models.layers import prunable_weights
from sdp.pipeline.progress import Reporter
from sdp.pruning.layer_inputs import (
    LayerInputs,
    calibration_batches,
    inputs_by_group,
    layer_groups,
    linear_layers,
    set_weight_and_bias,
    weight_and_bias,
)
from sdp.pruning.least_squares import damped, output_energies, refitted
from sdp.pruning.masks import BLOCK, Masks, Pattern, select_masks
from sdp.recipe.pruning import PruneSection

DAMPING = 0.01
"""What is added to the diagonal of a Gram matrix, as a share of its mean."""
UPDATES = 3
"""Steps in which the mask of a layer tightens, each to the same share of the weights before it: what is kept is
refitted after each, and scored as it is then."""
SOLVER_STEPS = 60
"""Most steps of a refit: the inputs of real layers are badly conditioned, and later steps gain little."""


def prune_at_once(
    model: PreTrainedModel,
    dense: PreTrainedModel,
    rows: TokenizedSplit,
    collator: Collator,
    settings: PruneSection,
    seed: int,
    reporter: Reporter,
    sparsities: Mapping[str, float] | None = None,
) -> Masks:
    """Prune a model in place.

    Args:
        model: the network to prune.
        dense: another copy of it, which stays as it is.
        rows: some of them are drawn to measure the layers' inputs.
        collator: pads a batch.
        settings: sparsity, pattern, and how many rows.
        seed: of the draw.
        reporter: shows progress.
        sparsities: name -> sparsity of each weight; the settings' without it.

    Returns:
        name -> mask of each weight; weights are ranked within their matrix. A sparsity of 0 changes no weight.
    """
    if settings.sparsity == 0:
        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    batches = calibration_batches(rows, collator, settings.calibration_rows, seed)
    layers = linear_layers(model, prunable_weights(model))
    masks: Masks = {}
    model.eval()
    dense.eval()
    with torch.no_grad(), reporter.task("pruning", len(layers)) as task:
        groups = layer_groups(dense, list(layers), batches[0])
        for inputs in inputs_by_group(model, dense, groups, batches):
            for name, of_layer in inputs.items():
                own = settings if sparsities is None else settings.model_copy(update={"sparsity": sparsities[name]})
                masks[name] = prune_layer(layers[name], of_layer, own)
                task.update(len(masks))
    return {name: masks[name] for name in layers}


def prune_layer(layer: nn.Linear, inputs: LayerInputs, settings: PruneSection) -> Tensor:
    """Prune the weight of a layer, and refit what is kept, and its bias, to the dense layer's outputs.

    Args:
        layer: the dense layer; changed in place.
        inputs: of the layer.
        settings: sparsity and pattern.

    Returns:
        the mask, bool [out, in].
    """
    fitted, mask = pruned_weights(weight_and_bias(layer), inputs, layer.in_features, settings.sparsity, settings.zeros)
    set_weight_and_bias(layer, fitted)
    return mask


def pruned_weights(
    dense: Tensor, inputs: LayerInputs, width: int, sparsity: float, zeros: Pattern
) -> tuple[Tensor, Tensor]:
    """Prune a matrix, and refit what is kept to what it computed.

    Args:
        dense: [out, in]; [out, in + 1] with a bias as the last column, which is kept and refitted.
        inputs: of the layer.
        width: its inputs, without the constant of a bias.
        sparsity: share of the weights that become zero.
        zeros: which of them may.

    Returns:
        the weights in the shape of `dense`, and the mask, bool [out, width].
    """
    gram = damped(inputs.gram, DAMPING)
    # Damping draws weights to those of the dense layer, not to 0.
    wanted = (dense.double() @ (inputs.cross + gram - inputs.gram)).to(dense.dtype)
    gram = gram.to(dense.dtype)
    block = BLOCK if zeros == "1x4" else 1
    whole = torch.ones_like(dense, dtype=torch.bool)
    fitted = refitted(wanted, gram, whole, start=dense, steps=SOLVER_STEPS)
    for update in range(1, UPDATES + 1):
        share = 1 - (1 - sparsity) ** (update / UPDATES)
        energies = output_energies(fitted[:, :width], gram[:width, :width], block) / block
        scores = energies.repeat_interleave(block, dim=1).masked_fill(~whole[:, :width], -torch.inf)
        (whole[:, :width],) = select_masks({"": scores}, share, "layer", zeros).values()
        fitted = refitted(wanted, gram, whole, start=fitted, steps=SOLVER_STEPS)
    return fitted, whole[:, :width].contiguous()
