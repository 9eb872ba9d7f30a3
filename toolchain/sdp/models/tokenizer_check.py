"""Check that the exported tokenizer.json alone gives the tokens of training and evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from sdp.data.batches import TokenizedSplit
from sdp.data.packed import row_lengths
from sdp.data.rows import Split
from sdp.errors import StageError
from sdp_onnx.deploy.tokenization import TOKENIZER_FILE, segments

# The shortest rows, the longest, and some between: what is cut is among the longest.
_OF_EACH = 8


def check_tokenizer(folder: Path, split: Split, rows: TokenizedSplit) -> None:
    """Tokenize some rows as somebody does who has the file and nothing else.

    Args:
        folder: holds tokenizer.json.
        split: the rows that the model is scored on.
        rows: the same, tokenized as in training.

    Raises:
        StageError: a row gets other tokens.
    """
    order = np.argsort(row_lengths(rows.rows), kind="stable")
    between = order[:: max(1, len(order) // _OF_EACH)]
    chosen = np.unique(np.concatenate([order[:_OF_EACH], between, order[-_OF_EACH:]])).tolist()
    texts = [split.texts[place] for place in chosen]
    words = split.tags is not None
    given = [list(row) if words else row[0] if len(row) == 1 else segments(row) for row in texts]
    encodings = Tokenizer.from_file(str(folder / TOKENIZER_FILE)).encode_batch(given, is_pretokenized=words)
    for place, encoding in zip(chosen, encodings, strict=True):
        found = [index for index, real in zip(encoding.ids, encoding.attention_mask, strict=True) if real]
        # A text of no tokens is one padding token, which the file alone has no place for.
        if found and found != rows.rows[place]["input_ids"]:
            what = f"row {place + 1} of {split.name} gets other tokens than the model was scored on"
            raise StageError(
                what,
                where=str(folder / TOKENIZER_FILE),
                hint="Run once more in another folder (--run-dir); if it stays so, it is a fault of sdp.",
            )
