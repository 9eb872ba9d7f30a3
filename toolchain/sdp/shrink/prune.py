"""Prune the linear layers of a graph one after the other, each refitted by least squares to what it computed.

As `pruning.one_shot` does with a network in torch: the layers before a layer are pruned already, its inputs are those
of the pruned graph, and its wanted outputs those of the dense one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sdp.pipeline.progress import Reporter
from sdp.pruning.layer_inputs import LayerInputs
from sdp.pruning.masks import Pattern
from sdp.pruning.one_shot import pruned_weights
from sdp.shrink.layers import LayerGroup
from sdp.shrink.samples import Batch
from sdp_onnx.export.kernel_patterns import Linear
from sdp_onnx.export.pieces import PiecewiseRun

MASK = "attention_mask"


def prune_graph(
    dense: PiecewiseRun,
    pruned: PiecewiseRun,
    groups: Sequence[LayerGroup],
    batches: Sequence[Batch],
    sparsity: float,
    pattern: Pattern,
    reporter: Reporter,
) -> None:
    """Prune layer after layer; the new weights and biases are in `pruned.weights`.

    Args:
        dense: the graph at its inputs.
        pruned: the same.
        groups: of its layers, in order.
        batches: the inputs of both.
        sparsity: share of each matrix that becomes zero.
        pattern: which weights may.
        reporter: shows progress.
    """
    biases = Counter(name for node in dense.model.graph.node for name in node.input)
    real = [batch[MASK].astype(bool) for batch in batches]
    count = 0
    with reporter.task("pruning", sum(len(group.layers) for group in groups)) as task:
        for group in groups:
            dense.advance(group.position)
            pruned.advance(group.position)
            before, now = (_tokens(run, group.x, real) for run in (dense, pruned))
            for layer in group.layers:
                own = layer.bias if layer.bias is not None and biases[layer.bias] == 1 else None
                _prune(dense, pruned, layer, own, (now, before), sparsity, pattern)
                count += 1
                task.update(count)


def _tokens(run: PiecewiseRun, name: str, real: Sequence[NDArray[np.bool_]]) -> list[torch.Tensor]:
    """The real tokens of a value in each batch, [tokens, in]."""
    return [torch.from_numpy(values[name][mask]) for values, mask in zip(run.values, real, strict=True)]


def _prune(
    dense: PiecewiseRun,
    pruned: PiecewiseRun,
    layer: Linear,
    bias: str | None,
    tokens: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]],
    sparsity: float,
    pattern: Pattern,
) -> None:
    weight = torch.from_numpy(dense.tensors[layer.weight].array().T.copy())
    width = weight.shape[1]
    if bias is not None:
        column = torch.from_numpy(dense.tensors[bias].array().copy())
        weight = torch.cat([weight, column.unsqueeze(1)], dim=1)
    inputs = LayerInputs.of_size(weight.shape[1])
    for now, before in zip(*tokens, strict=True):
        inputs.add(_with_ones(now, weight.shape[1]), _with_ones(before, weight.shape[1]))
    fitted, _ = pruned_weights(weight, inputs, width, sparsity, pattern)
    pruned.weights[layer.weight] = fitted[:, :width].T.contiguous().numpy()
    if bias is not None:
        pruned.weights[bias] = fitted[:, width].contiguous().numpy()


def _with_ones(tokens: torch.Tensor, width: int) -> torch.Tensor:
    """Inputs with a constant 1 behind them, where the layer has a bias."""
    return tokens if tokens.shape[1] == width else torch.cat([tokens, tokens.new_ones(len(tokens), 1)], dim=1)
