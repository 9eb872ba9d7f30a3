"""Compute a batch in parts, one after another, for less memory; the loss still uses all of its rows at once.

The gradient of a loss that is not a mean over rows (cross-correlation has statistics of the whole batch) is not the
mean of the gradients of parts. So each part's forward pass keeps only its results, the loss is computed on all results
together, and the backward pass computes each part a second time with the same random numbers (the method of
GradCache, arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sdp.losses.network_output import NetworkOutput

Inputs = Mapping[str, Tensor]


def read_in_parts(read: Callable[[Inputs], NetworkOutput], inputs: Inputs, parts: int) -> NetworkOutput:
    """Compute a network's outputs for a batch in parts.

    Args:
        read: runs the network on some rows.
        inputs: each [B, L].
        parts: how many; no more than there are rows are made.

    Returns:
        the result of `read` for all rows.
    """
    rows = len(inputs["input_ids"])
    parts = max(1, min(parts, rows))
    if parts == 1:
        return read(inputs)
    cuts = [rows * part // parts for part in range(parts + 1)]
    outputs: list[NetworkOutput] = [
        checkpoint(read, {name: tensor[start:stop] for name, tensor in inputs.items()}, use_reentrant=False)
        for start, stop in pairwise(cuts)
    ]
    hidden = [part.hidden for part in outputs if part.hidden is not None]
    return replace(
        outputs[0],
        logits=_joined(part.logits for part in outputs),
        hidden=tuple(torch.cat(states) for states in zip(*hidden, strict=True)) if hidden else None,
        pooled=_joined(part.pooled for part in outputs),
    )


def _joined(pieces: Iterable[Tensor | None]) -> Tensor | None:
    present = [piece for piece in pieces if piece is not None]
    return torch.cat(present) if present else None


def first_rows(output: NetworkOutput, count: int) -> NetworkOutput:
    """Return the outputs for the first rows of a batch."""
    return replace(
        output,
        logits=None if output.logits is None else output.logits[:count],
        hidden=None if output.hidden is None else tuple(state[:count] for state in output.hidden),
        pooled=None if output.pooled is None else output.pooled[:count],
    )
