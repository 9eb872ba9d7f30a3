"""From what a network computes to the rows of features that a loss compares."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from sdp.errors import ModelError
from sdp.losses.network_output import NetworkOutput, RowsKey

HiddenKind = Literal["mean", "first", "tokens"]


def represent(hidden: Tensor, attention_mask: Tensor, kind: HiddenKind) -> Tensor:
    """Turn the hidden states of one layer into rows of features.

    Args:
        hidden: [B, L, d].
        attention_mask: [B, L], 1 for real tokens, 0 for padding.
        kind: "mean" averages the real tokens, "first" takes the first token, "tokens" keeps every real token.

    Returns:
        [B, d] for "mean" and "first"; [number of real tokens, d] for "tokens". Means are float32.
    """
    if kind == "first":
        return hidden[:, 0]
    if kind == "tokens":
        return hidden[attention_mask.bool()]
    weights = attention_mask.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)


def rows_of(output: NetworkOutput, attention_mask: Tensor, key: RowsKey) -> Tensor:
    """Take the rows of a key from a network's output, [N, d].

    Raises:
        ValueError: the network was not asked for what they are made of.
    """
    if key in output.stored:
        return output.stored[key]
    if key.kind == "pooled":
        if output.pooled is None:
            raise ValueError("the pooled representation is needed, and the network was not asked for it")
        return output.pooled
    if output.hidden is None:
        raise ValueError(f"the rows {key} need hidden states, and the network was not asked for them")
    return represent(output.hidden[key.layer], attention_mask, key.kind)


def resolve_layers(layers: tuple[int, ...] | Literal["all"], count: int, loss: str) -> tuple[int, ...]:
    """Turn the layers of a recipe into indices of hidden states: "all" into 1 to the last, negative ones from the end.

    Args:
        layers: 0 for the embeddings' output, 1 for the first layer, -1 for the last.
        count: how many layers the model has.
        loss: the name of the loss that lists them.

    Raises:
        ModelError: the model has no such layer.
    """
    if layers == "all":
        return tuple(range(1, count + 1))
    wrong = [layer for layer in layers if not -count <= layer <= count]
    if wrong:
        raise ModelError(
            f"the model has {count} layers, and the loss {loss} asks for layer {', '.join(map(str, wrong))}",
            where="prune.losses",
            hint=f"Give layers from 1 to {count}, from -{count} to -1, or 0 for the embeddings' output.",
        )
    return tuple(dict.fromkeys(layer if layer >= 0 else count + 1 + layer for layer in layers))
