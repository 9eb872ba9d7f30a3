"""Predictions of an exported file over a split, by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdp.console import Task
from sdp.data.batches import Collator, TokenizedSplit
from sdp.evaluation.ask import ask_rows
from sdp.evaluation.kept import Kept


def model_inputs(
    split: TokenizedSplit, indices: Sequence[int], collator: Collator, names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Pad rows of a split into one batch of the inputs that a file declares, each [B, L], int64."""
    return _as_int64(collator([split[index] for index in indices]), names)


def predict_logits(
    session: Any,
    split: TokenizedSplit,
    collator: Collator,
    batch_size: int,
    task: Task | None = None,
    kept: Kept | None = None,
) -> NDArray[np.float32]:
    """Run an onnxruntime session over every row of a split.

    Args:
        session: an onnxruntime.InferenceSession whose only output is the logits.
        split: N tokenized rows.
        collator: pads a batch.
        batch_size: rows in one call.
        task: told how many tokens are done.
        kept: where to keep what it said so far, for an attempt that is interrupted; None for nowhere.

    Returns:
        logits in the order of the split, [N, C]; for tagging those of its words, [W, C], NaN for a word without token.
    """
    names = [value.name for value in session.get_inputs()]

    def network(inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(None, _as_int64(inputs, names))[0]
        return logits

    return ask_rows(network, split, collator, batch_size, task, kept)


def _as_int64(batch: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    return {name: batch[name].numpy().astype(np.int64) for name in names}
