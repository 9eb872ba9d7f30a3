"""Predictions of a torch classifier or tagger over a split."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdp.console import Task
from sdp.data.batches import Collator, TokenizedSplit, in_order, length_sorted_batches, read_off
from sdp.models.forward import plain_forward


def predict_logits(
    model: PreTrainedModel, split: TokenizedSplit, collator: Collator, batch_size: int, task: Task | None = None
) -> NDArray[np.float32]:
    """Run a model over every row of a split, in float32, without dropout.

    Args:
        model: on any device; its mode is restored.
        split: N tokenized rows.
        collator: pads a batch.
        batch_size: rows in one forward pass.
        task: told how many tokens are done.

    Returns:
        logits in the order of the split, [N, C]; for tagging those of its words, [W, C], NaN for a word without token.
    """
    was_training = model.training
    model.eval()
    said: dict[int, NDArray[np.float32]] = {}
    done = 0
    try:
        with torch.inference_mode():
            for indices in length_sorted_batches(split, batch_size):
                batch = collator([split[index] for index in indices])
                inputs = {k: v.to(model.device) for k, v in batch.items() if k not in ("labels", "index")}
                logits = plain_forward(model, inputs).logits.float().cpu().numpy()
                said |= read_off(split, indices, logits, batch["attention_mask"].numpy())
                done += int(batch["attention_mask"].sum())
                if task is not None:
                    task.update(done)
    finally:
        model.train(was_training)
    return in_order(said)
