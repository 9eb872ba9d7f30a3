"""Outputs of a network in training for a fixed sample of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sdp.data.batches import IGNORED, Collator, TokenizedSplit, length_sorted_batches
from sdp.losses.representation import represent
from sdp.models.forward import plain_forward


@dataclass(frozen=True)
class Reading:
    """Outputs of a network for N rows, or for N labelled tokens in a tagging task.

    Attributes:
        rows: representation by the last layer, [N, d]: the mean over the real tokens of a row, or the token itself.
        logits: [N, C].
        labels: [N].
        metric: the task's metric on them.
    """

    rows: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]
    metric: float


def labelled(hidden: Tensor, logits: Tensor, labels: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Representation, logits and label of everything in a batch that has a label, in the order of the batch.

    Args:
        hidden: [B, L, d].
        logits: [B, C], or [B, L, C] for tagging.
        labels: [B], or [B, L] with -100 where a token has none.
        attention_mask: [B, L].

    Returns:
        [N, d], [N, C] and [N]; N = B but for tagging.
    """
    if labels.dim() == 1:
        return represent(hidden, attention_mask, "mean"), logits, labels
    chosen = labels != IGNORED
    return hidden[chosen], logits[chosen], labels[chosen]


class Probe:
    """Reads a model on the same rows whenever it is called, in float32 and without dropout; no random number is drawn.

    Args:
        model: on any device; its mode is restored after each reading.
        rows: the sample.
        collator: pads a batch.
        batch_size: rows in one forward pass.
        score: the task's metric of logits [N, C], in the order of the rows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        rows: TokenizedSplit,
        collator: Collator,
        batch_size: int,
        score: Callable[[NDArray[np.float32]], float],
    ) -> None:
        self._model = model
        self._score = score
        self.count = len(rows)
        self._batches = [
            {name: tensor.to(model.device) for name, tensor in collator([rows[index] for index in indices]).items()}
            for indices in length_sorted_batches(rows, batch_size)
        ]

    def __call__(self) -> Reading:
        """Read the model in its current state."""
        was_training = self._model.training
        self._model.eval()
        try:
            with torch.inference_mode():
                parts = [self._read(batch) for batch in self._batches]
        finally:
            self._model.train(was_training)
        rows, logits, labels, owners = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        order = np.argsort(owners, kind="stable")
        return Reading(rows[order], logits[order], labels[order], self._score(logits[order]))

    def _read(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`labelled` of a batch, and the row that each of its results is from."""
        inputs = {name: tensor for name, tensor in batch.items() if name not in ("labels", "index")}
        # In training, as the teacher was read before it.
        outputs = plain_forward(self._model, inputs, output_hidden_states=True)
        labels = batch["labels"]
        found = labelled(outputs.hidden_states[-1], outputs.logits, labels, batch["attention_mask"])
        owners = batch["index"] if labels.dim() == 1 else batch["index"].repeat_interleave((labels != IGNORED).sum(1))
        return found[0].float(), found[1].float(), found[2], owners
