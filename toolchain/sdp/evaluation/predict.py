"""Predictions of a network over a split, and an exported file as such a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdp.data.batches import Collator, TokenizedSplit, cosines, in_order, length_sorted_batches, read_off
from sdp.data.rows_on_disk import row_lengths
from sdp.evaluation.answers import answer_questions
from sdp.evaluation.stored_logits import LogitsFile, RowLogits
from sdp.pipeline.progress import Task
from sdp_onnx.runtimes.base import LoadedModel

Network = Callable[[Mapping[str, Tensor]], NDArray[np.float32]]
"""A function from a padded batch of inputs, each [B, L], to logits: [B, C], or [B, L, C] for tagging and
question answering."""


def predict_logits(
    network: Network,
    split: TokenizedSplit,
    collator: Collator,
    batch_size: int,
    task: Task | None = None,
    logits_file: LogitsFile | None = None,
) -> NDArray[np.float32]:
    """Run a network over every row, in batches of similar length.

    Args:
        network: the network.
        split: N tokenized rows.
        collator: pads a batch.
        batch_size: rows in one call.
        task: progress bar, in tokens.
        logits_file: file for intermediate results, read after an interruption; None to store nothing.

    Returns:
        logits in the order of the split, [N, C]; for tagging by word, [W, C], NaN for a word without a token; for
        embeddings the cosine of each pair of rows, [N / 2, 1]; for question answering the answers (see
        `answer_questions`), [N, 5].

    Raises:
        SafetensorError: the disk with the intermediate results is full.
    """
    answers, lengths, done = RowLogits(len(split), logits_file), row_lengths(split.rows), 0
    for indices in length_sorted_batches(split, batch_size):
        if not all(index in answers.of_row for index in indices):
            batch = collator([split[index] for index in indices])
            inputs = {name: values for name, values in batch.items() if name not in ("labels", "index")}
            answers.add(read_off(split, indices, network(inputs), batch["attention_mask"].numpy()))
        done += int(lengths[indices].sum())
        if task is not None:
            task.update(done)
    found = in_order(answers.of_row)
    if split.windows is not None:
        return answer_questions(split.windows, found)
    return found if split.compared is None else cosines(found)


def onnx_network(model: LoadedModel) -> Network:
    """A loaded file as the network of `predict_logits`: its first output is the logits."""

    def network(inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        return model.run(_as_int64(inputs, model.input_names))

    return network


def model_inputs(
    split: TokenizedSplit, indices: Sequence[int], collator: Collator, names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Pad rows of a split into one batch of the inputs that a file declares, each [B, L], int64."""
    return _as_int64(collator([split[index] for index in indices]), names)


def _as_int64(batch: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    return {name: batch[name].numpy().astype(np.int64) for name in names}
