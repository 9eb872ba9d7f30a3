"""The inputs of linear layers on some rows, in the pruned network and in the dense one: what a refit is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.errors import ModelError
from sdp.models.parts import block_of
from sdp.pruning.replay import Batch, Replay, count_calls

BATCH_SIZE = 32


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
            raise ModelError(what, where=name, hint="Set prune.repair = false, and prune.epochs above 0.")
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


def inputs_by_block(
    model: PreTrainedModel,
    dense: PreTrainedModel,
    names: Sequence[str],
    batches: Sequence[Batch],
    *,
    own: slice = slice(None),
    bf16: bool = False,
) -> Iterator[dict[str, LayerInputs]]:
    """Measure layers block after block. The caller may change a block's layers before it takes the next one.

    The next block's inputs are those that the changed ones give. Each block of the pruned network is computed twice,
    and each of the dense one once.

    Args:
        model: the pruned network, in evaluation.
        dense: the unpruned one, in evaluation.
        names: names of the layers' weights. Of a layer that runs several times, all inputs count.
        batches: as a collator makes them.
        own: the batches that are measured.
        bf16: compute both networks' products in bfloat16.

    Yields:
        name of a weight -> its layer's sums over the real tokens, for the layers of a block; in the order in which the
        network runs them.

    Raises:
        ModelError: two layers share a weight, or the network does not call the module of a layer.
    """
    blocks: dict[str, list[str]] = {}
    for name in names:
        blocks.setdefault(block_of(name), []).append(name)
    calls = count_calls(dense, list(blocks), batches[0])
    if missing := [block for block in blocks if block not in calls]:
        raise _not_called(missing[0])
    with closing(Replay(model, calls, bf16=bf16)) as now, closing(Replay(dense, calls, bf16=bf16)) as before:
        previous: str | None = None
        for block in calls:
            before.record(block)
            sums = _measure(model, dense, blocks[block], (now, before), block, list(enumerate(batches))[own])
            before.finish(block)
            if previous is not None:
                now.finish(previous)
            yield sums
            now.record(block)
            previous = block


def _measure(
    model: PreTrainedModel,
    dense: PreTrainedModel,
    names: Sequence[str],
    replays: tuple[Replay, Replay],
    block: str,
    batches: Iterable[tuple[int, Batch]],
) -> dict[str, LayerInputs]:
    """Run both networks as far as a block, and sum the products of its layers' inputs."""
    networks = (linear_layers(model, names), linear_layers(dense, names))
    sums = {name: LayerInputs.zeros(layer) for name, layer in networks[0].items()}
    seen: dict[tuple[int, str], list[Tensor]] = {}
    with ExitStack() as stack:
        for which, layers in enumerate(networks):
            for name, layer in layers.items():
                keep = _keeper(seen.setdefault((which, name), []))
                stack.callback(layer.register_forward_pre_hook(keep).remove)
        for index, batch in batches:
            for replay in replays:
                replay.run(index, batch, block)
            for name, layer in networks[0].items():
                now, before = (_rows(name, layer, seen[which, name], batch["attention_mask"]) for which in (0, 1))
                sums[name].add(now, before)
            for inputs in seen.values():
                inputs.clear()
    return sums


def _keeper(seen: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.append(arguments[0])

    return keep


def _rows(name: str, layer: nn.Linear, seen: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Return a layer's inputs at the real tokens, float32 [tokens, in], with a constant 1 for its bias."""
    if not seen:
        raise _not_called(name)
    real = attention_mask.bool().to(layer.weight.device)
    # Some models drop the padding themselves.
    rows = torch.cat([inputs[real] if inputs.shape[:-1] == real.shape else inputs.flatten(0, -2) for inputs in seen])
    rows = rows.float()
    return rows if layer.bias is None else torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


def _not_called(where: str) -> ModelError:
    what = "the network computes it without calling its module, so that its inputs are not seen"
    return ModelError(what, where=where, hint="Set prune.repair = false, and prune.epochs above 0.")
