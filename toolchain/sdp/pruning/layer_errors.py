"""What a layer's outputs lose when its weight is pruned by itself, at each of several sparsities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sdp.models.layers import prunable_weights
from sdp.pipeline.progress import Reporter
from sdp.pruning.layer_inputs import real_tokens
from sdp.pruning.least_squares import output_energies
from sdp.pruning.masks import BLOCK, Pattern, select_masks
from sdp.pruning.replay import Replay

GRAM_BYTES = 2**30
"""Most memory for the Gram matrices of layers that are measured in one pass over the rows."""


@dataclass(frozen=True)
class LayerLoss:
    """A layer when its weight is pruned.

    Attributes:
        errors: by sparsity, squared error of its outputs as a share of their squares.
        runs: how often the layer runs in a forward pass; more than once where layers share weights.
    """

    errors: tuple[float, ...]
    runs: int


def relative_errors(weight: Tensor, gram: Tensor, sparsities: Sequence[float], pattern: Pattern) -> list[float]:
    """Return tr((W - W') H (W - W')^T) / tr(W H W^T) for W' = W with a mask, at each sparsity.

    The blocks with the lowest w_Q^T H_QQ w_Q of the matrix are pruned, as without training; what stays is not refitted,
    because training will change it.

    Args:
        weight: W, [out, in].
        gram: H, sum of x x^T over tokens, [in, in].
        sparsities: shares to prune.
        pattern: unstructured or 1x4.
    """
    block = BLOCK if pattern == "1x4" else 1
    scores = output_energies(weight, gram, block).repeat_interleave(block, dim=1)
    whole = float(_energy(weight, gram))
    errors = []
    for sparsity in sparsities:
        (mask,) = select_masks({"": scores}, sparsity, "layer", pattern).values()
        errors.append(float(_energy(weight * ~mask, gram)) / whole if whole > 0 else 0.0)
    return errors


def _energy(weight: Tensor, gram: Tensor) -> Tensor:
    return (weight @ gram * weight).sum(dtype=torch.float64)


def measure_losses(
    model: PreTrainedModel,
    batches: Sequence[Mapping[str, Tensor]],
    sparsities: Sequence[float],
    pattern: Pattern,
    reporter: Reporter,
) -> dict[str, LayerLoss]:
    """Measure what each prunable layer of a dense network loses at each sparsity, all others as they are.

    Args:
        model: the network.
        batches: calibration rows, as a collator makes them.
        sparsities: shares to prune.
        pattern: unstructured or 1x4.
        reporter: shows progress.

    Returns:
        name -> its losses.
    """
    weights = prunable_weights(model)
    losses: dict[str, LayerLoss] = {}
    model.eval()
    with torch.no_grad(), reporter.task("measuring layers", len(weights)) as task:
        for names in _in_memory(weights):
            for name, (gram, runs) in _measure_inputs(model, names, batches).items():
                losses[name] = LayerLoss(tuple(relative_errors(weights[name], gram, sparsities, pattern)), runs)
                task.update(len(losses))
    return {name: losses[name] for name in weights}


def _in_memory(weights: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Yield the names in groups whose Gram matrices fit into memory together."""
    names: list[str] = []
    size = 0
    for name, weight in weights.items():
        own = 8 * weight.shape[1] ** 2
        if names and size + own > GRAM_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += own
    yield names


def _measure_inputs(
    model: PreTrainedModel, names: Sequence[str], batches: Iterable[Mapping[str, Tensor]]
) -> dict[str, tuple[Tensor, int]]:
    """Return of each layer the Gram matrix of its inputs, [in, in] in the weight's type, and how often it runs."""
    sums: dict[str, Tensor] = {}
    runs: dict[str, int] = {}
    layers = {name: model.get_submodule(name.removesuffix(".weight")) for name in names}
    replay = Replay(model)
    for index, batch in enumerate(batches):
        for name, inputs in replay.inputs(index, batch, layers).items():
            rows = real_tokens(inputs, batch["attention_mask"])
            product = (rows.T @ rows).double()
            sums[name] = sums[name] + product if name in sums else product
            runs[name] = len(inputs)
    return {name: (total.to(model.dtype), runs[name]) for name, total in sums.items()}
