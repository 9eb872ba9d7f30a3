"""Compute an exported file's logits for many inputs, in small batches sorted by length.

Needs neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.deploy.tokenization import TextTokenizer, TokenizedText

BATCH_SIZE = 32
"""Rows of one call: larger batches are not faster on a CPU, and need more padding."""


def batch_logits(
    session: Any,
    tokenizer: TextTokenizer,
    rows: Sequence[TokenizedText],
    check: Callable[[NDArray[np.float32], tuple[int, ...]], None],
) -> list[NDArray[np.float32]]:
    """Run an exported file on tokenized inputs.

    Args:
        session: an onnxruntime session of the file.
        tokenizer: pads a batch.
        rows: the inputs.
        check: checks the logits of a batch and its numbers of rows and tokens.

    Returns:
        the logits of each row in the order of the rows, [C]; for tagging [L, C] for its own tokens.
    """
    names = [value.name for value in session.get_inputs()]
    lengths = [len(row.inputs["input_ids"]) for row in rows]
    order = np.argsort(lengths, kind="stable").tolist()
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
    for start in range(0, len(rows), BATCH_SIZE):
        places = order[start : start + BATCH_SIZE]
        batch = tokenizer.pad([rows[place].inputs for place in places])
        logits = np.asarray(session.run(None, {name: batch[name] for name in names})[0], np.float32)
        check(logits, batch["input_ids"].shape)
        for place, mask, row in zip(places, batch["attention_mask"], logits, strict=True):
            found[place] = row[mask == 1] if row.ndim == 2 else row
    return found
