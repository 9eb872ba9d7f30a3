"""Keys that compare rows cheaply: eight bytes for a row's texts, eight for texts and label, and its length."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import Split
from sdp.data.texts import Texts

_BYTES = 8
# Separates two columns; it counts as white space, which is normalised, so no text contains it.
_BETWEEN = "\x1f"


@dataclass(frozen=True)
class RowKeys:
    """Keys of the N rows of a split.

    Attributes:
        texts: equal where two rows have the same texts, ignoring case and white space, uint64 [N].
        labelled: equal where they also have the same label (for tagging the same tags), uint64 [N].
        characters: total length of a row's texts, int64 [N].
    """

    texts: NDArray[np.uint64]
    labelled: NDArray[np.uint64]
    characters: NDArray[np.int64]


def row_keys(split: Split) -> RowKeys:
    """Compute the keys of a split's rows, reading each text once.

    Args:
        split: N rows; their texts may be on disk.
    """
    rows = len(split)
    keys = RowKeys(np.empty(rows, np.uint64), np.empty(rows, np.uint64), np.empty(rows, np.int64))
    labels, size, start = split.labels.tobytes(), split.labels.itemsize, 0
    for row, texts in enumerate(split.texts):
        end = start + (1 if split.tags is None else len(texts))
        key = text_key(texts if split.tags is None else (" ".join(texts),))
        keys.texts[row] = int.from_bytes(key)
        label = labels[start * size : end * size]
        keys.labelled[row] = int.from_bytes(blake2b(key + label, digest_size=_BYTES).digest())
        keys.characters[row] = sum(map(len, texts))
        start = end
    return keys


def text_key(texts: Texts) -> bytes:
    """Return the key of a row's texts: a hash in lower case, with each run of white space as one space."""
    plain = _BETWEEN.join(" ".join(text.casefold().split()) for text in texts)
    return blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
