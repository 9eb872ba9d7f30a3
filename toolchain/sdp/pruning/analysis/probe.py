"""Outputs of a network in training for a fixed sample of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches
from sdp.data.rows import IGNORED
from sdp.losses.representation import represent
from sdp.models.load import plain_forward


@dataclass(frozen=True)
class Reading:
    """Outputs of a network for N rows, or for N labelled tokens in a tagging task.

    Attributes:
        rows: representation by the last layer, [N, d]: the mean over the real tokens of a row, or the token itself.
        logits: [N, C].
        labels: [N], or [N, C] for multi-label.
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
        labels: [B], [B, C] for multi-label, or [B, L] with -100 where a token has none.
        attention_mask: [B, L].

    Returns:
        [N, d], [N, C] and the labels of N; N = B but for tagging.
    """
    if logits.dim() == 2:
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
        owners = batch["index"]
        if outputs.logits.dim() == 3:
            owners = owners.repeat_interleave((labels != IGNORED).sum(1))
        return found[0].float(), found[1].float(), found[2], owners


# The recovery phase is long against the gap between two updates.
AT_THE_END = 5
FEWEST_ROWS, MOST_ROWS = 32, 256
# A row that is looked at costs about a third of one that is learned from (no backward pass): a quarter as many take a
# twelfth of the time.
LEARNED_FOR_ONE_SEEN = 4


def points_between(updates: Collection[int], total_steps: int, between: int) -> set[int]:
    """Optimizer steps at which the student is looked at besides the mask updates.

    Between two updates `between` of them, evenly spaced; after the last update five times as many, and always the last
    step of the run. Fewer where there are fewer steps.

    Args:
        updates: steps with a mask update.
        total_steps: steps of the run.
        between: points between two updates.
    """
    order = sorted(updates)
    spans = [(start, end, between) for start, end in pairwise(order)]
    if order:
        # One more, because the last step of the run is not one between.
        spans.append((order[-1], total_steps, max(0, AT_THE_END * between - 1)))
    inner = {round(start + (end - start) * k / (count + 1)) for start, end, count in spans for k in range(1, count + 1)}
    return (inner | {total_steps}) - set(order)


def affordable_rows(trained: int, looks: int) -> int:
    """The number of rows to measure each time without slowing down training much.

    Args:
        trained: rows that are learned from in the whole run, each as often as it comes.
        looks: how often the student is looked at.

    Returns:
        a quarter of what is learned from for all looks together, but 32 to 256 for each.
    """
    return min(MOST_ROWS, max(FEWEST_ROWS, trained // (LEARNED_FOR_ONE_SEEN * max(1, looks))))


def sample_rows(groups: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Choose random rows, the same for every seed of the run, so that runs are comparable.

    Args:
        groups: the list that each row belongs to, [N]; the rows of a list stay together.
        wanted: how many rows: as many whole lists as fit, but at least one.

    Returns:
        numbers of rows, ascending.
    """
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(names))
    fitting = int(np.searchsorted(np.cumsum(sizes[order]), wanted, side="right"))
    return np.flatnonzero(np.isin(members, order[: max(1, fitting)]))
