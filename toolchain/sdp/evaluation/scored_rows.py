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
from sdp.pipeline.artifacts.base import present
from sdp.pipeline.artifacts.rows import ScoredRows


def scored_rows(split: Split, predicted: Array) -> ScoredRows:
    """Record rows and predictions with the data's own class ids, comparable between heads of different class orders.

    Args:
        split: N rows.
        predicted: class ids or scores, [N], or of the words of tagging, [W]; for multi-label 1 or 0, [N, C].

    Returns:
        of each row its hash (over part, texts and label), part, group and number of words, of each prediction the label
        and itself, and the names of the tags.
    """
    if split.own_ids is not None and split.multi_label:
        predicted = predicted[:, np.argsort(split.own_ids, kind="stable")]
        split = replace(split.with_ids(split.own_ids), own_ids=None)
    elif split.own_ids is not None:
        # -1, no prediction, stays.
        predicted = np.asarray([*split.own_ids, NO_PREDICTION])[predicted.astype(np.int64)]
        split = replace(split.with_ids(split.own_ids), own_ids=None)
    names = list(dict.fromkeys(split.parts))
    return ScoredRows(
        split=split.name,
        hashes=_hashes(split),
        part_names=tuple(names),
        parts=tuple(names.index(part) for part in split.parts),
        labels=tuple(_flat(split.labels, split).tolist()),
        predicted=tuple(_flat(predicted, split).tolist()),
        groups=None if split.groups is None else tuple(split.groups.tolist()),
        tags=None if split.tags is None else tuple(split.tags),
        words=tuple(len(texts) for texts in split.texts) if split.tags is not None else None,
        **present(label_count=split.labels.shape[1] if split.multi_label else None),
    )


def read_rows(rows: ScoredRows) -> tuple[Split, Array]:
    """What `scored_rows` was made of, without the texts: a split that can be scored, and the predictions."""
    labels: NDArray[Any] = np.asarray(rows.labels)
    predicted = np.asarray(rows.predicted)
    if rows.label_count is not None:
        labels, predicted = (own.reshape(-1, rows.label_count) for own in (labels, predicted))
    classes = np.issubdtype(labels.dtype, np.integer) and rows.label_count is None
    split = Split(
        rows.split,
        tuple(("",) * words for words in rows.words or [1] * len(rows.hashes)),
        labels if classes else labels.astype(np.float32),
        tuple(rows.part_names[place] for place in rows.parts),
        None if rows.groups is None else np.asarray(rows.groups, dtype=np.int64),
        rows.tags,
    )
    return split, predicted


def _flat(values: Array, split: Split) -> Array:
    """Labels or predictions as one list; those of several labels row after row, as integers."""
    return values.astype(np.int64).reshape(-1) if split.multi_label else values


def _hashes(split: Split) -> tuple[str, ...]:
    hashes = []
    for row, texts in enumerate(split.texts):
        label = (split.labels_of(row) if split.tags is not None else split.labels[row]).tolist()
        content = json.dumps([split.parts[row], texts, label], ensure_ascii=False)
        hashes.append(hashlib.sha256(content.encode()).hexdigest()[:16])
    return tuple(hashes)
