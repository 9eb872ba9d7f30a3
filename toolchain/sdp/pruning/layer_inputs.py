"""The inputs of linear layers on some rows, in the pruned network and in the dense one: what a refit is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.errors import ModelError
from sdp.models.parts import block_of
from sdp.pruning.replay import Batch, Replay

BATCH_SIZE = 32
_WITHOUT_REFIT = "Set prune.repair = false, and prune.epochs above 0."


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
        return cls.of_size(layer.in_features + (layer.bias is not None), layer.weight.device)

    @classmethod
    def of_size(cls, size: int, device: torch.device | str = "cpu") -> LayerInputs:
        """Sums over no tokens, float64 [size, size]."""
        gram, cross = torch.zeros(2, size, size, dtype=torch.float64, device=device)
        return cls(gram, cross)

    def add(self, now: Tensor, before: Tensor) -> None:
        """Add tokens: their inputs in the pruned network and in the dense one, [tokens, in] each."""
        self.gram += now.T @ now
        self.cross += before.T @ now


def calibration_batches(rows: TokenizedSplit, collator: Collator, count: int, seed: int) -> list[dict[str, Tensor]]:
    """Draw rows, in batches of like length.

    Args:
        rows: those without labels are drawn too.
        collator: pads a batch.
        count: how many are drawn; all where there are fewer.
        seed: of the draw.
    """
    chosen = set(np.random.default_rng(seed).permutation(len(rows))[:count].tolist())
    order = [index for batch in length_sorted_batches(rows, BATCH_SIZE) for index in batch if index in chosen]
    starts = range(0, len(order), BATCH_SIZE)
    return [collator([rows[index] for index in order[start : start + BATCH_SIZE]]) for start in starts]


def linear_layers(model: PreTrainedModel, names: Iterable[str]) -> dict[str, nn.Linear]:
    """Find the layers of weights.

    Args:
        model: the network.
        names: of weights, from `prunable_weights`.

    Returns:
        name of the weight -> its layer.

    Raises:
        ModelError: two layers share a weight: what one of them needs is not what the other one needs.
    """
    owners: dict[int, list[tuple[str, nn.Linear]]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            owners.setdefault(id(module.weight), []).append((path, module))
    layers = {}
    for name in names:
        (path, layer), *others = owners[id(model.get_parameter(name))]
        if others:
            what = f"{path} and {others[0][0]} share a weight, and a refit by least squares is of one layer alone"
            raise ModelError(what, where=name, hint=_WITHOUT_REFIT)
        layers[name] = layer
    return layers


def weight_and_bias(layer: nn.Linear) -> Tensor:
    """Return a layer's weight with its bias as one more column, [out, in + 1]; the weight where it has no bias."""
    weight: Tensor = layer.weight
    return weight if layer.bias is None else torch.cat([weight, layer.bias.unsqueeze(1)], dim=1)


def set_weight_and_bias(layer: nn.Linear, values: Tensor) -> None:
    """Set what `weight_and_bias` returns."""
    layer.weight.copy_(values[:, : layer.in_features])
    if layer.bias is not None:
        layer.bias.copy_(values[:, layer.in_features])


@dataclass(frozen=True)
class LayerGroup:
    """Layers of a block that have the same input, such as query, key and value.

    Attributes:
        block: the encoder layer that they are in.
        names: of their weights.
        calls: of all together in a forward pass.
    """

    block: str
    names: tuple[str, ...]
    calls: int


def layer_groups(network: PreTrainedModel, names: Sequence[str], batch: Batch) -> list[LayerGroup]:
    """Group layers by their inputs.

    Args:
        network: in evaluation.
        names: names of the layers' weights.
        batch: to run it on.

    Returns:
        the groups in the order in which the network runs them first, those of a block together.

    Raises:
        ModelError: two layers share a weight, or the network does not call the module of a layer.
    """
    seen = Replay(network).inputs(0, batch, linear_layers(network, names))
    if missing := [name for name in names if name not in seen]:
        what = "the network computes it without calling its module, so that its inputs are not seen"
        raise ModelError(what, where=missing[0], hint=_WITHOUT_REFIT)
    blocks: dict[str, list[list[str]]] = {}
    for name, inputs in seen.items():
        groups = blocks.setdefault(block_of(name), [])
        if groups and seen[groups[-1][0]][0] is inputs[0]:
            groups[-1].append(name)
        else:
            groups.append([name])
    return [
        LayerGroup(block, tuple(group), sum(len(seen[name]) for name in group))
        for block, groups in blocks.items()
        for group in groups
    ]


def inputs_by_group(
    model: PreTrainedModel,
    dense: PreTrainedModel,
    groups: Sequence[LayerGroup],
    batches: Sequence[Batch],
    *,
    own: slice = slice(None),
    bf16: bool = False,
) -> Iterator[dict[str, LayerInputs]]:
    """Measure layers, one group after the other. The caller may change a group's layers before it takes the next one.

    The next group's inputs are those that the changed layers give. What stands before its block is not computed again.

    Args:
        model: the pruned network, in evaluation.
        dense: the unpruned one, in evaluation.
        groups: from `layer_groups`. Of a layer that runs several times, all inputs count.
        batches: as a collator makes them.
        own: the batches that are measured.
        bf16: compute both networks' products in bfloat16.

    Yields:
        name of a weight -> its layer's sums over the real tokens, for the layers of a group.
    """
    with closing(Replay(model, bf16=bf16)) as now, closing(Replay(dense, bf16=bf16)) as before:
        block = groups[0].block
        for group in groups:
            if group.block != block:
                now.finish(block)
                before.finish(block)
                block = group.block
            layers = linear_layers(model, group.names)
            sums = {name: LayerInputs.zeros(layer) for name, layer in layers.items()}
            of_dense = linear_layers(dense, group.names)
            for index, batch in list(enumerate(batches))[own]:
                seen = now.inputs(index, batch, layers, group.calls)
                wanted = before.inputs(index, batch, of_dense, group.calls)
                for name, layer in layers.items():
                    sums[name].add(*(_rows(layer, inputs[name], batch["attention_mask"]) for inputs in (seen, wanted)))
            yield sums


def real_tokens(seen: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Return a layer's inputs at the real tokens, [tokens, in].

    Args:
        seen: its input at each call, [B, L, in].
        attention_mask: [B, L].
    """
    real = attention_mask.bool().to(seen[0].device)
    # Some models drop the padding themselves.
    return torch.cat([inputs[real] if inputs.shape[:-1] == real.shape else inputs.flatten(0, -2) for inputs in seen])


def _rows(layer: nn.Linear, seen: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Return a layer's inputs at the real tokens, float32 [tokens, in], with a constant 1 for its bias."""
    rows = real_tokens(seen, attention_mask).float()
    return rows if layer.bias is None else torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
