"""Prune without training: layer by layer, each refitted by least squares to what it computed before.

Minutes on a CPU. The layers before a layer are pruned already, so that it makes up for what they changed: its inputs
are those of the pruned network, and its wanted outputs those of the dense one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.models.layers import prunable_weights
from sdp.models.parts import block_of
from sdp.pipeline.progress import Reporter
from sdp.pruning.least_squares import damped, output_energies, refitted
from sdp.pruning.masks import BLOCK, Masks, select_masks
from sdp.recipe.pruning import PruneSection

DAMPING = 0.01
"""What is added to the diagonal of a Gram matrix, as a share of its mean."""
BATCH_SIZE = 32
UPDATES = 3
"""Steps in which the mask of a layer tightens, each to the same share of the weights before it: what is kept is
refitted after each, and scored as it is then."""
SOLVER_STEPS = 60
"""Most steps of a refit: the inputs of real layers are badly conditioned, and later steps gain little."""


@dataclass
class LayerInputs:
    """Sums over the tokens of the calibration rows; a constant 1 stands behind the inputs x of a layer with a bias.

    Attributes:
        gram: sum of x x^T, x in the pruned network.
        cross: sum of x_d x^T, x_d in the dense network.
    """

    gram: Tensor
    cross: Tensor

    @classmethod
    def zeros(cls, layer: nn.Linear) -> LayerInputs:
        """Sums over no tokens, float64 [in, in], one more of each where the layer has a bias."""
        size = layer.in_features + (layer.bias is not None)
        gram, cross = torch.zeros(2, size, size, dtype=torch.float64, device=layer.weight.device)
        return cls(gram, cross)

    def add(self, now: Tensor, before: Tensor) -> None:
        """Add tokens: their inputs in the pruned network and in the dense one, [tokens, in] each."""
        self.gram += now.T @ now
        self.cross += before.T @ now


def prune_at_once(
    model: PreTrainedModel,
    dense: PreTrainedModel,
    rows: TokenizedSplit,
    collator: Collator,
    settings: PruneSection,
    seed: int,
    reporter: Reporter,
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

    Returns:
        name -> mask of each weight; weights are ranked within their matrix. A sparsity of 0 changes no weight.
    """
    if settings.sparsity == 0:
        return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    batches = [collator([rows[index] for index in batch]) for batch in _draw(rows, settings.calibration_rows, seed)]
    weights = prunable_weights(model)
    masks: Masks = {}
    model.eval()
    dense.eval()
    with torch.no_grad(), reporter.task("pruning", len(weights)) as task:
        for block in dict.fromkeys(map(block_of, weights)):
            names = [name for name in weights if block_of(name) == block]
            inputs = measure_inputs(model, dense, names, batches)
            for name in names:
                masks[name] = prune_layer(_layer(model, name), inputs[name], settings)
                task.update(len(masks))
    return masks


def _draw(rows: TokenizedSplit, count: int, seed: int) -> list[list[int]]:
    """Draw rows, in batches of like length."""
    chosen = set(np.random.default_rng(seed).permutation(len(rows))[:count].tolist())
    order = [index for batch in length_sorted_batches(rows, BATCH_SIZE) for index in batch if index in chosen]
    return [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]


def _layer(model: PreTrainedModel, name: str) -> nn.Linear:
    layer = model.get_submodule(name.removesuffix(".weight"))
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{name} is the weight of a {type(layer).__name__}")
    return layer


def measure_inputs(
    model: PreTrainedModel, dense: PreTrainedModel, names: Sequence[str], batches: Iterable[Mapping[str, Tensor]]
) -> dict[str, LayerInputs]:
    """Run both networks on rows, and sum the products of some layers' inputs over the real tokens.

    Args:
        model: the pruned network.
        dense: the unpruned one.
        names: names of the layers' weights. Of a layer that runs several times, all inputs count.
        batches: as a collator makes them.

    Returns:
        name -> its layer's sums.
    """
    layers = {name: _layer(model, name) for name in names}
    sums = {name: LayerInputs.zeros(layer) for name, layer in layers.items()}
    seen: dict[tuple[bool, str], list[Tensor]] = {}
    with ExitStack() as stack:
        for network in (model, dense):
            for name in names:
                keep = _keeper(seen.setdefault((network is dense, name), []))
                stack.callback(_layer(network, name).register_forward_pre_hook(keep).remove)
        for batch in batches:
            given = {key: value.to(model.device) for key, value in batch.items() if key not in ("labels", "index")}
            for network in (model, dense):
                network(**given)
            for name, layer in layers.items():
                now, before = (_rows(layer, seen[which, name], given["attention_mask"]) for which in (False, True))
                sums[name].add(now, before)
            for inputs in seen.values():
                inputs.clear()
    return sums


def _keeper(seen: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.append(arguments[0])

    return keep


def _rows(layer: nn.Linear, seen: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Return a layer's inputs at the real tokens, [tokens, in], with a constant 1 for its bias."""
    real = attention_mask.bool()
    # Some models drop the padding themselves.
    rows = torch.cat([inputs[real] if inputs.shape[:-1] == real.shape else inputs.flatten(0, -2) for inputs in seen])
    return rows if layer.bias is None else torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


def prune_layer(layer: nn.Linear, inputs: LayerInputs, settings: PruneSection) -> Tensor:
    """Prune the weight of a layer, and refit what is kept, and its bias, to the dense layer's outputs.

    Args:
        layer: the dense layer; changed in place.
        inputs: of the layer.
        settings: sparsity and pattern.

    Returns:
        the mask, bool [out, in].
    """
    dense = layer.weight if layer.bias is None else torch.cat([layer.weight, layer.bias.unsqueeze(1)], dim=1)
    gram = damped(inputs.gram, DAMPING)
    # Damping draws weights to those of the dense layer, not to 0.
    wanted = (dense.double() @ (inputs.cross + gram - inputs.gram)).to(dense.dtype)
    gram = gram.to(dense.dtype)
    width, block = layer.in_features, BLOCK if settings.pattern == "1x4" else 1
    whole = torch.ones_like(dense, dtype=torch.bool)
    fitted = refitted(wanted, gram, whole, start=dense, steps=SOLVER_STEPS)
    for update in range(1, UPDATES + 1):
        sparsity = 1 - (1 - settings.sparsity) ** (update / UPDATES)
        energies = output_energies(fitted[:, :width], gram[:width, :width], block) / block
        scores = energies.repeat_interleave(block, dim=1).masked_fill(~whole[:, :width], -torch.inf)
        (whole[:, :width],) = select_masks({"": scores}, sparsity, "layer", settings.pattern).values()
        fitted = refitted(wanted, gram, whole, start=fitted, steps=SOLVER_STEPS)
    layer.weight.copy_(fitted[:, :width])
    if layer.bias is not None:
        layer.bias.copy_(fitted[:, width])
    return whole[:, :width].contiguous()
