"""Predictions of an exported file over a split, by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.console import Task
from sdp.data.batches import Collator, TokenizedSplit, in_order, length_sorted_batches, read_off


def model_inputs(
    split: TokenizedSplit, indices: Sequence[int], collator: Collator, names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Pad rows of a split into one batch of the inputs that a file declares, each [B, L], int64."""
    batch = collator([split[index] for index in indices])
    return {name: batch[name].numpy().astype(np.int64) for name in names}


def predict_logits(
    session: Any, split: TokenizedSplit, collator: Collator, batch_size: int, task: Task | None = None
) -> NDArray[np.float32]:
    """Run an onnxruntime session over every row of a split.

    Args:
        session: an onnxruntime.InferenceSession whose only output is the logits.
        split: N tokenized rows.
        collator: pads a batch.
        batch_size: rows in one call.
        task: told how many tokens are done.

    Returns:
        logits in the order of the split, [N, C]; for tagging those of its words, [W, C], NaN for a word without token.
    """
    names = [value.name for value in session.get_inputs()]
    said: dict[int, NDArray[np.float32]] = {}
    done = 0
    for indices in length_sorted_batches(split, batch_size):
        batch = model_inputs(split, indices, collator, [*dict.fromkeys((*names, "attention_mask"))])
        logits = session.run(None, {name: batch[name] for name in names})[0]
        said |= read_off(split, indices, logits, batch["attention_mask"])
        done += int(batch["attention_mask"].sum())
        if task is not None:
            task.update(done)
    return in_order(said)
