"""Tokenized rows at their real lengths, batches padded to their longest row, and logits by row from padded logits.

For tagging, the first token of a word carries its label and its prediction. A word has no token if it lies beyond the
length limit or the tokenizer drops it: training ignores it, and the model has no prediction for it (`unread`).

For question answering a row is a window: a question with a part of its context (see `sdp.data.windows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sdp.data.rows import IGNORED, Split
from sdp.data.rows_on_disk import Joined, PackedRows, Texts, TokenRow, row_lengths
from sdp.data.windows import Windows, token_labels
from sdp.errors import ModelError
from sdp_onnx.deploy.tokenization import TextTokenizer, translate_errors

NO_TOKEN = -1
CHUNK = 1000
CHUNK_CHARACTERS = 10**6
"""Rows and characters tokenized at a time: a tokenizer's record of a row is 30 times the size of its text."""


def tokenize(texts: Sequence[Texts], tokenizer: TextTokenizer, max_length: int) -> Sequence[TokenRow]:
    """Tokenize single texts or pairs, cutting the longer text of a pair first; no padding.

    Returns:
        for each row the model's inputs (input_ids, attention_mask, ...), lists of its own length.

    Raises:
        ModelError: the tokenizer fails: its files are damaged.
    """

    def chunk(rows: Sequence[Texts]) -> list[TokenRow]:
        with _tokenizer_errors():
            return [row.inputs for row in tokenizer.encode(rows)]

    tokenizer.cut_at(max_length)
    return PackedRows(map(chunk, _text_chunks(texts)))


def _text_chunks(rows: Iterable[Texts]) -> Iterator[list[Texts]]:
    """Yield all rows in chunks of at most CHUNK rows and CHUNK_CHARACTERS characters; a longer row is its own chunk."""
    chunk: list[Texts] = []
    size = 0
    for row in rows:
        length = sum(map(len, row))
        if chunk and (len(chunk) == CHUNK or size + length > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += length
    if chunk:
        yield chunk


def _tokenizer_errors() -> AbstractContextManager[None]:
    hint = "Copy the model's folder again."

    def error(reason: str) -> ModelError:
        return ModelError(f"the tokenizer fails at the task's texts: {reason}", hint=hint)

    return translate_errors(error)


def tokenize_words(
    texts: Sequence[Texts], tokenizer: TextTokenizer, max_length: int
) -> tuple[Sequence[TokenRow], list[NDArray[np.int64]]]:
    """Tokenize sentences that are split into words.

    Returns:
        for each row the model's inputs, and for each of its words the index of its first token, -1 without one.

    Raises:
        ModelError: the tokenizer fails: its files are damaged.
    """
    places: list[NDArray[np.int64]] = []

    def chunk(sentences: Sequence[Texts]) -> list[TokenRow]:
        with _tokenizer_errors():
            rows = tokenizer.encode(sentences, words=True)
        places.extend(_first_tokens(len(words), row.words) for words, row in zip(sentences, rows, strict=True))
        return [row.inputs for row in rows]

    tokenizer.cut_at(max_length)
    return PackedRows(map(chunk, _text_chunks(texts))), places


def tokenize_windows(
    texts: Sequence[Texts], tokenizer: TextTokenizer, max_length: int, stride: int
) -> tuple[Sequence[TokenRow], list[int], list[NDArray[np.int32]]]:
    """Tokenize questions with their contexts, read in windows.

    Args:
        texts: a question and its context each.
        tokenizer: the tokenizer.
        max_length: tokens of a window.
        stride: tokens of the context that neighbouring windows share.

    Returns:
        for each window the model's inputs, the number of its question, and the characters of the context of each token,
        [L, 2], -1 for other tokens.

    Raises:
        ModelError: the tokenizer fails: its files are damaged.
    """
    owners: list[int] = []
    offsets: list[NDArray[np.int32]] = []
    done = 0

    def chunk(rows: Sequence[Texts]) -> list[TokenRow]:
        nonlocal done
        with _tokenizer_errors():
            windows = tokenizer.encode_windows([(question, context) for question, context in rows])
        for own in windows:
            owners.extend([done] * len(own))
            offsets.extend(np.array(window.offsets, np.int32) for window in own)
            done += 1
        return [window.inputs for own in windows for window in own]

    tokenizer.cut_in_windows(max_length, stride)
    return PackedRows(map(chunk, _text_chunks(texts))), owners, offsets


def _first_tokens(words: int, owners: Sequence[int | None]) -> NDArray[np.int64]:
    """Return the index of the first token of each word, given the word of each token."""
    first = np.full(words, NO_TOKEN, dtype=np.int64)
    # Backwards, so that the first token of a word is written last.
    for place in range(len(owners) - 1, -1, -1):
        owner = owners[place]
        if owner is not None:
            first[owner] = place
    return first


class TokenizedSplit(Dataset[dict[str, Any]]):
    """Rows for training and evaluation: tokens, "labels", and "index", the key of stored teacher outputs.

    For tagging, `places` holds for each row the index of each word's first token, and labels belong to tokens. Rows
    without a label stand last, and `labeled` is the number of the others. With `compared`, every so many rows behind
    each other are texts whose vectors are compared; with `windows`, rows are windows in which questions are answered
    (see `predict_logits`).
    """

    def __init__(
        self,
        rows: Sequence[TokenRow],
        labels: NDArray[np.int64] | NDArray[np.float32] | Sequence[NDArray[np.int64]],
        places: Sequence[NDArray[np.int64]] | None = None,
        labeled: int | None = None,
        compared: int | None = None,
        windows: Windows | None = None,
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.places = places
        self.labeled = len(rows) if labeled is None else labeled
        self.compared = compared
        self.windows = windows

    @classmethod
    def of_words(cls, split: Split, tokenizer: TextTokenizer, max_length: int) -> TokenizedSplit:
        """Return the sentences of a tagging split, labelled at the first token of each word."""
        rows, places = tokenize_words(split.texts, tokenizer, max_length)
        labels = []
        for row, (tokens, first) in enumerate(zip(rows, places, strict=True)):
            token_labels = np.full(len(tokens["input_ids"]), IGNORED, dtype=np.int64)
            read = first != NO_TOKEN
            token_labels[first[read]] = split.labels_of(row)[read]
            labels.append(token_labels)
        return cls(rows, labels, places)

    @classmethod
    def of_questions(cls, split: Split, tokenizer: TextTokenizer, max_length: int, stride: int) -> TokenizedSplit:
        """Return the windows of a split of questions; of training without what questions are answered with."""
        if split.answers is None:
            raise ValueError("the split has no answers")
        rows, owners, offsets = tokenize_windows(split.texts, tokenizer, max_length, stride)
        answers = split.answers
        labels = [
            token_labels(places, answers.of_rows[owner], answers.starts[owner])
            for owner, places in zip(owners, offsets, strict=True)
        ]
        # Training answers no questions.
        windows = None if split.name == "train" else Windows(split, np.array(owners, np.int64), offsets)
        return cls(rows, labels, windows=windows)

    def with_unlabeled(self, rows: Sequence[TokenRow]) -> TokenizedSplit:
        """Return the rows followed by others that have no label."""
        if isinstance(self.labels, np.ndarray):
            none = np.nan if np.issubdtype(self.labels.dtype, np.floating) else IGNORED
            shape = (len(rows), *self.labels.shape[1:])
            labels: Any = np.concatenate([self.labels, np.full(shape, none, dtype=self.labels.dtype)])
        else:
            lengths = row_lengths(rows)
            labels = [*self.labels, *(np.full(length, IGNORED, dtype=np.int64) for length in lengths)]
        return TokenizedSplit(Joined((self.rows, rows)), labels, labeled=len(self))

    @property
    def unread(self) -> int:
        """Number of words without a token, for which the model has no output; 0 where rows are not words."""
        return sum(int(np.sum(first == NO_TOKEN)) for first in self.places or ())

    @property
    def tokens(self) -> int:
        """Number of tokens of all rows."""
        return int(row_lengths(self.rows).sum())

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[index], "labels": self.labels[index], "index": index}


class Collator:
    """Pads rows to the longest row of a batch, as tokenizer.json does."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Make a batch.

        Returns:
            the model's inputs, each int64 [B, L], "labels", int64 or float32 [B] (for multi-label float32 [B, C], for
            tagging and question answering int64 [B, L], -100 where there is nothing to learn), and "index", int64 [B].
        """
        batch = {name: torch.from_numpy(values) for name, values in self._tokenizer.pad(rows).items()}
        if np.ndim(rows[0]["labels"]) and rows[0]["labels"].dtype == np.int64:
            labels = np.full(tuple(batch["input_ids"].shape), IGNORED, dtype=np.int64)
            for line, row in zip(labels, rows, strict=True):
                # The real tokens are one run, at the side that is not padded.
                start = len(line) - len(row["labels"]) if self._tokenizer.padding.side == "left" else 0
                line[start : start + len(row["labels"])] = row["labels"]
            batch["labels"] = torch.from_numpy(labels)
        else:
            batch["labels"] = torch.as_tensor(np.array([row["labels"] for row in rows]))
        batch["index"] = torch.tensor([row["index"] for row in rows])
        return batch


def length_sorted_batches(rows: TokenizedSplit, batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of batches of rows of similar length, shortest first: this pads least in evaluation."""
    order = np.argsort(row_lengths(rows.rows), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size].tolist()


def read_off(
    split: TokenizedSplit, indices: Sequence[int], logits: NDArray[np.float32], attention_mask: NDArray[np.int64]
) -> dict[int, NDArray[np.float32]]:
    """Return the model's output for each row of a batch.

    Args:
        split: the rows.
        indices: the rows in the batch.
        logits: [B, C], or [B, L, C] for tagging and question answering.
        attention_mask: [B, L].

    Returns:
        row number -> its logits, [1, C]; for tagging [words, C], NaN for a word without a token; for a window its best
        span, [1, 5].
    """
    if split.windows is not None:
        return {
            index: split.windows.read_off(index, logits[place][attention_mask[place] == 1])
            for place, index in enumerate(indices)
        }
    if split.places is None:
        return {index: logits[place : place + 1] for place, index in enumerate(indices)}
    found = {}
    for place, index in enumerate(indices):
        first = split.places[index]
        of_words = np.full((len(first), logits.shape[-1]), np.nan, dtype=np.float32)
        tokens = logits[place][attention_mask[place] == 1]
        of_words[first != NO_TOKEN] = tokens[first[first != NO_TOKEN]]
        found[index] = of_words
    return found


def with_unread(split: TokenizedSplit, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Insert NaN rows for the words of a tagging split that have no token: [read, C] to [W, C]."""
    if split.places is None:
        return logits
    read = np.concatenate(list(split.places)) != NO_TOKEN
    of_words = np.full((len(read), logits.shape[-1]), np.nan, dtype=np.float32)
    of_words[read] = logits
    return of_words


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each vector of an even number, [2 N, D], and the one behind it, [N, 1].

    Of a vector without a length it is 0.
    """
    pairs = vectors.astype(np.float64).reshape(-1, 2, vectors.shape[1])
    lengths = np.linalg.norm(pairs, axis=2).prod(axis=1)
    products = (pairs[:, 0] * pairs[:, 1]).sum(axis=1)
    found = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.asarray(found[:, None], np.float32)


def in_order(by_row: dict[int, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Concatenate the logits of all rows (words) in the order of the split, [N, C] or [W, C]."""
    return np.concatenate([by_row[row] for row in range(len(by_row))])
