"""Texts that show a model file what it is used for: some measure its layers, others compare it with what it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.data.corpus import is_plain_text
from sdp.data.files import column_chunks, read_lines
from sdp.data.load import text_rows
from sdp.errors import DataError
from sdp_onnx.deploy.tokenization import INPUT_NAMES, Row, TextTokenizer

Batch = dict[str, NDArray[np.int64]]
BATCH_SIZE = 32
MOST_ROWS = 100_000
"""Rows of a file that are read; some of them are drawn."""
FEWEST = 16
"""Rows that the layers are measured on, at least, and rows that are compared."""


@dataclass(frozen=True)
class Samples:
    """Tokenized rows.

    Attributes:
        measured: those that the layers are measured on.
        compared: others.
        tokenizer: pads them.
    """

    measured: tuple[Row, ...]
    compared: tuple[Row, ...]
    tokenizer: TextTokenizer

    def batches(self, rows: Sequence[Row], size: int = BATCH_SIZE) -> list[Batch]:
        """Batches of rows of like length, shortest first."""
        ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
        return [self.tokenizer.pad(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def read_samples(
    path: Path, columns: Sequence[str], tokenizer: TextTokenizer, measured: int, compared: int, seed: int
) -> Samples:
    """Read texts, and draw rows of them.

    Args:
        path: txt (one text a line), or tsv, csv, jsonl, parquet; also .gz.
        columns: of a table, one or two.
        tokenizer: the model's, which cuts them.
        measured, compared: how many rows are wanted; where there are fewer, of those that are compared.
        seed: of the draw.

    Raises:
        DataError: the file cannot be read, or has too few texts.
    """
    texts = list(dict.fromkeys(islice(_texts(path, columns), MOST_ROWS)))
    if len(texts) < 2 * FEWEST:
        what = f"it has {len(texts)} different texts, and at least {2 * FEWEST} are needed"
        raise DataError(what, where=str(path), hint="Give some hundreds of texts of the kind that the model reads.")
    measured = min(measured, len(texts) - FEWEST)
    compared = min(compared, len(texts) - measured)
    chosen = np.random.default_rng(seed).permutation(len(texts))[: measured + compared].tolist()
    rows = [row.inputs for row in tokenizer.encode([texts[number] for number in chosen])]
    return Samples(tuple(rows[:measured]), tuple(rows[measured:]), tokenizer)


def _texts(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    if is_plain_text(path):
        if columns:
            raise DataError("a txt file has no columns", where=str(path), hint="Leave --column out.")
        yield from ((line,) for line in read_lines(path))
        return
    if not columns:
        raise DataError(
            "which column has the texts?", where=str(path), hint="Name it: --column NAME (twice for pairs)."
        )
    first = 1
    for chunk in column_chunks(path, columns):
        yield from text_rows([chunk[name] for name in columns], columns, str(path), first)
        first += len(chunk[columns[0]])


def usable_inputs(names: Sequence[str]) -> bool:
    """Whether a tokenizer makes all inputs that a file declares."""
    return set(names) <= set(INPUT_NAMES) and "input_ids" in names and "attention_mask" in names
