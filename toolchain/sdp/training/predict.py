"""Predictions of a torch classifier or tagger over a split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sdp.console import Task
from sdp.data.batches import Collator, TokenizedSplit
from sdp.evaluation.ask import ask_rows
from sdp.evaluation.kept import Kept
from sdp.models.forward import plain_forward


def predict_logits(
    model: PreTrainedModel,
    split: TokenizedSplit,
    collator: Collator,
    batch_size: int,
    task: Task | None = None,
    kept: Kept | None = None,
) -> NDArray[np.float32]:
    """Run a model over every row of a split, in float32, without dropout.

    Args:
        model: on any device; its mode is restored.
        split: N tokenized rows.
        collator: pads a batch.
        batch_size: rows in one forward pass.
        task: told how many tokens are done.
        kept: where to keep what it said so far, for an attempt that is interrupted; None for nowhere.

    Returns:
        logits in the order of the split, [N, C]; for tagging those of its words, [W, C], NaN for a word without token.
    """

    def network(inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        placed = {name: values.to(model.device) for name, values in inputs.items()}
        logits: NDArray[np.float32] = plain_forward(model, placed).logits.float().cpu().numpy()
        return logits

    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return ask_rows(network, split, collator, batch_size, task, kept)
    finally:
        model.train(was_training)
