"""From hidden states to the rows that a loss compares."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Representation = Literal["mean", "first", "tokens"]


def represent(hidden: Tensor, attention_mask: Tensor, kind: Representation) -> Tensor:
    """Turn hidden states into rows of features.

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
