"""The models' sizes and inputs of peers.py; imports neither torch nor transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers_lengths import text_lengths

INPUTS = ("input_ids", "attention_mask")
PADDING = 1
# The number of the first piece that is not special.
SPECIAL = 5

# The vocabulary is cut to 32000: a lookup costs no time, whatever the size of the table.
SIZES: dict[str, dict[str, Any]] = {
    "large": {
        "vocab_size": 32000,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "base": {
        "vocab_size": 32000,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "minilm": {
        "vocab_size": 32000,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "tiny": {
        "vocab_size": 2000,
        "hidden_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 768,
    },
}

Inputs = dict[str, NDArray[np.int64]]


def random_inputs(vocabulary: int, rows: int, length: int, seed: int) -> Inputs:
    """Rows of random tokens without padding, int64 [rows, length]."""
    tokens = np.random.default_rng([seed, length]).integers(SPECIAL, vocabulary, (rows, length), dtype=np.int64)
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}


def batch_inputs(vocabulary: int, rows: int, length: int | str, seed: int) -> Inputs:
    """Rows of random tokens: of one length, or padded at the end, of lengths spread over a distribution."""
    if isinstance(length, int):
        return random_inputs(vocabulary, rows, length, seed)
    lengths = np.array(text_lengths(length, rows))
    inputs = random_inputs(vocabulary, rows, int(lengths.max()), seed)
    kept = np.arange(lengths.max()) < lengths[:, None]
    return {"input_ids": np.where(kept, inputs["input_ids"], PADDING), "attention_mask": kept.astype(np.int64)}
