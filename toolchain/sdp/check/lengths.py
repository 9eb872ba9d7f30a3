"""How many tokens rows have, from a sample of them; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.data.texts import Texts
from sdp.errors import ModelError
from sdp_onnx.deploy.tokenizer_errors import told_as

SAMPLE = 1000
# Where only Python can read the tokenizer: of English and its neighbours.
_CHARACTERS_PER_TOKEN = 4
_FRAME = 2
# Batches that are drawn to see how long their longest row is.
_DRAWS = 200


def sampled_lengths(model: Path | None, texts: Sequence[Texts]) -> NDArray[np.int64]:
    """Tokens of at most SAMPLE rows, evenly spread over all, without any limit.

    Args:
        model: a model folder. Without one, or a tokenizer.json in it, tokens are estimated from characters.
        texts: of at least one row.

    Raises:
        ModelError: the tokenizer.json is damaged.
    """
    rows = np.unique(np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int))
    chosen = [" ".join(texts[int(row)]) for row in rows]
    file = None if model is None else model / "tokenizer.json"
    if file is None or not file.is_file():
        return np.array([len(text) // _CHARACTERS_PER_TOKEN + _FRAME for text in chosen], dtype=np.int64)
    # Imported here: `sdp --help` needs none.
    from tokenizers import Tokenizer

    with told_as(lambda reason: ModelError(f"the tokenizer cannot be loaded: {reason}", where=str(file))):
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(chosen)], dtype=np.int64)


def padded_length(lengths: NDArray[np.int64], batch_size: int) -> float:
    """Tokens of a row in a batch of random rows, padded to its longest.

    Args:
        lengths: of sampled rows, after the limit.
        batch_size: rows in a batch.
    """
    drawn = np.random.default_rng(0).choice(lengths, size=(_DRAWS, batch_size))
    return float(drawn.max(axis=1).mean())
