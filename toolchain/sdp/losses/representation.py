"""From what a network computes to the rows of features that a loss compares."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

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
