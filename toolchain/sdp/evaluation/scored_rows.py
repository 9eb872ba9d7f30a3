"""Scored rows and predictions as JSON without the texts, sufficient to compute scores again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import Split
from sdp.evaluation.metrics import NO_PREDICTION, Array


def rows_record(split: Split, predicted: Array) -> dict[str, Any]:
    """Record rows and predictions with the data's own class ids, comparable between heads of different class orders.

    Args:
        split: N rows.
        predicted: class ids or scores, [N], or of the words of tagging, [W].

    Returns:
        JSON types: for each row its hash (of part, texts and label), part, group and number of words, the label of each
        prediction and the prediction, and the names of the tags.
    """
    if split.own_ids is not None:
        # -1, no prediction, stays.
        predicted = np.asarray([*split.own_ids, NO_PREDICTION])[predicted.astype(np.int64)]
        split = replace(split.with_ids(split.own_ids), own_ids=None)
    names = list(dict.fromkeys(split.parts))
    words = [len(texts) for texts in split.texts] if split.tags is not None else None
    return {
        "split": split.name,
        "hashes": _hashes(split),
        "part_names": names,
        "parts": [names.index(part) for part in split.parts],
        "labels": split.labels.tolist(),
        "predicted": predicted.tolist(),
        "groups": None if split.groups is None else split.groups.tolist(),
        "tags": None if split.tags is None else list(split.tags),
        "words": words,
    }


def read_rows(record: dict[str, Any]) -> tuple[Split, Array]:
    """Read a `rows_record`: a split without texts that can be scored, and the predictions."""
    count = len(record["hashes"])
    texts = tuple(("",) * words for words in record["words"] or [1] * count)
    labels: NDArray[Any] = np.asarray(record["labels"])
    split = Split(
        record["split"],
        texts,
        labels if np.issubdtype(labels.dtype, np.integer) else labels.astype(np.float32),
        tuple(record["part_names"][place] for place in record["parts"]),
        None if record["groups"] is None else np.asarray(record["groups"], dtype=np.int64),
        None if record["tags"] is None else tuple(record["tags"]),
    )
    return split, np.asarray(record["predicted"])


def _hashes(split: Split) -> list[str]:
    hashes = []
    for row, texts in enumerate(split.texts):
        label = split.labels_of(row).tolist() if split.tags is not None else split.labels[row].item()
        content = json.dumps([split.parts[row], texts, label], ensure_ascii=False)
        hashes.append(hashlib.sha256(content.encode()).hexdigest()[:16])
    return hashes
