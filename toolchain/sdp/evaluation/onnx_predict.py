"""Predictions of an exported file over a split, by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches


def model_inputs(
    split: TokenizedSplit, indices: Sequence[int], collator: Collator, names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Pad rows of a split into one batch of the inputs that a file declares, each [B, L], int64."""
    batch = collator([split[index] for index in indices])
    return {name: batch[name].numpy().astype(np.int64) for name in names}


def predict_logits(session: Any, split: TokenizedSplit, collator: Collator, batch_size: int) -> NDArray[np.float32]:
    """Run an onnxruntime session over every row of a split.

    Args:
        session: an onnxruntime.InferenceSession whose only output is the logits.
        split: N tokenized rows.
        collator: pads a batch.
        batch_size: rows in one call.

    Returns:
        logits in the order of the split, [N, C].
    """
    names = [value.name for value in session.get_inputs()]
    parts: list[NDArray[np.float32]] = []
    order: list[int] = []
    for indices in length_sorted_batches(split, batch_size):
        parts.append(session.run(None, model_inputs(split, indices, collator, names))[0])
        order.extend(indices)
    logits = np.empty_like(np.concatenate(parts), dtype=np.float32)
    logits[order] = np.concatenate(parts)
    return logits
