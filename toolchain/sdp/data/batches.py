"""Tokenized rows at their real lengths, and batches padded to the longest row in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from sdp.data.rows import Split

TokenRow = dict[str, list[int]]


def tokenize(split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[TokenRow]:
    """Tokenize single texts or pairs, cutting the longer text of a pair first; no padding.

    Returns:
        for each row the model's inputs (input_ids, attention_mask, ...), lists of its own length.
    """
    columns = [list(column) for column in zip(*split.texts, strict=True)]
    encoded = tokenizer(*columns, truncation="longest_first", max_length=max_length, padding=False)
    names = [name for name in encoded if name in tokenizer.model_input_names]
    return [{name: encoded[name][row] for name in names} for row in range(len(split))]


class TokenizedSplit(Dataset[dict[str, Any]]):
    """Rows for training and evaluation: tokens, "labels", and "index", by which stored teacher outputs are found."""

    def __init__(self, rows: Sequence[TokenRow], labels: NDArray[np.int64] | NDArray[np.float32]) -> None:
        self.rows = rows
        self.labels = labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[index], "labels": self.labels[index], "index": index}


class Collator:
    """Pads rows to the longest of them, on the tokenizer's side with the tokenizer's pad token."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Make a batch.

        Returns:
            the model's inputs, each int64 [B, L], "labels", int64 or float32 [B], and "index", int64 [B].
        """
        tokens = [{name: value for name, value in row.items() if name not in ("labels", "index")} for row in rows]
        batch: dict[str, Tensor] = dict(self._tokenizer.pad(tokens, padding=True, return_tensors="pt"))
        batch["labels"] = torch.as_tensor(np.array([row["labels"] for row in rows]))
        batch["index"] = torch.tensor([row["index"] for row in rows])
        return batch


def length_sorted_batches(rows: TokenizedSplit, batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of batches of rows of like length, shortest first: the least padding for evaluation."""
    order = sorted(range(len(rows)), key=lambda index: len(rows.rows[index]["input_ids"]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
