"""How many tokens rows have, from a sample of them; no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import Split
from sdp.errors import ModelError
from sdp_onnx.tokenizer_errors import told_as

SAMPLE = 1000
# Where only Python can read the tokenizer: of English and its neighbours.
_CHARACTERS_PER_TOKEN = 4
_FRAME = 2
# Batches that are drawn to see how long their longest row is.
_DRAWS = 200


def sampled_lengths(model: Path, split: Split) -> NDArray[np.int64]:
    """Tokens of at most SAMPLE rows, evenly spread over a split, without any limit.

    Args:
        model: a model folder. Without a tokenizer.json in it, tokens are estimated from characters.
        split: at least one row.

    Raises:
        ModelError: the tokenizer.json is damaged.
    """
    rows = np.unique(np.linspace(0, len(split) - 1, min(SAMPLE, len(split))).astype(int))
    texts = [" ".join(split.texts[int(row)]) for row in rows]
    file = model / "tokenizer.json"
    if not file.is_file():
        return np.array([len(text) // _CHARACTERS_PER_TOKEN + _FRAME for text in texts], dtype=np.int64)
    # Imported here: `sdp --help` needs none.
    from tokenizers import Tokenizer

    with told_as(lambda reason: ModelError(f"the tokenizer cannot be loaded: {reason}", where=str(file))):
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(texts)], dtype=np.int64)


def padded_length(lengths: NDArray[np.int64], batch_size: int) -> float:
    """Tokens of a row in a batch of random rows, padded to its longest.

    Args:
        lengths: of sampled rows, after the limit.
        batch_size: rows in a batch.
    """
    drawn = np.random.default_rng(0).choice(lengths, size=(_DRAWS, batch_size))
    return float(drawn.max(axis=1).mean())
