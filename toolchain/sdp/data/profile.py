"""Statistics of a task's data: rows, classes, repetitions and overlaps. Needs no torch.

Memory holds 24 bytes a row beside the labels; the texts stay on disk.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import Split, SplitName, TaskData
from sdp.data.rows_on_disk import Texts

OUTSIDE = "O"


@dataclass(frozen=True)
class Overlap:
    """Rows of one split whose texts are also in another.

    Attributes:
        rows: their number.
        other_label: how many of them never have the same label in the other split.
    """

    rows: int
    other_label: int


@dataclass(frozen=True)
class SplitProfile:
    """Statistics of the rows of one split.

    Attributes:
        rows: number of rows.
        parts: rows by language or subset; empty where the data has none.
        classes: rows (words in tagging) by class, in the order of their ids; empty for regression and ranking. A
            multi-label row counts for each of its labels.
        labelled: rows (words in tagging), of which the classes are shares.
        numbers: lowest, mean and highest score of regression or relevance of ranking; None for classes and answers.
        lists: number of lists of a ranking; None otherwise.
        constant: the parts ("" for all rows) in which every label is the same; in tagging, the parts without an
            entity, or with a single tag where tags name no entities; in multi-label, the parts without a label.
        longest: characters of the longest row.
        longest_row: its number, from 1.
        repeated: rows whose texts occur in an earlier row.
        contradictory: rows whose texts also occur with another label in this split.
        also_in: the splits before this one, with the rows whose texts occur there.
    """

    rows: int
    parts: dict[str, int]
    classes: dict[str, int]
    labelled: int
    numbers: tuple[float, float, float] | None
    lists: int | None
    constant: tuple[str, ...]
    longest: int
    longest_row: int
    repeated: int
    contradictory: int
    also_in: dict[SplitName, Overlap]


@dataclass(frozen=True)
class DataProfile:
    """Statistics of the splits of a task, in the order train, dev, test."""

    splits: dict[SplitName, SplitProfile]

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON types."""
        return {name: asdict(split) for name, split in self.splits.items()}


def profile_data(data: TaskData) -> DataProfile:
    """Compute the statistics, reading every row once.

    Args:
        data: the task's splits as training and evaluation read them.
    """
    splits: dict[SplitName, SplitProfile] = {}
    keys: dict[SplitName, RowKeys] = {}
    for split in (data.train, data.dev, data.test):
        if split is not None:
            own = row_keys(split)
            splits[split.name] = _profile(split, data.label_names, own, keys)
            keys[split.name] = own
    return DataProfile(splits)


def _profile(split: Split, names: tuple[str, ...], own: RowKeys, earlier: dict[SplitName, RowKeys]) -> SplitProfile:
    values = split.labels.astype(np.float64)
    # Answers are neither classes nor numbers.
    numbers = None if names or split.answers else (float(values.min()), float(values.mean()), float(values.max()))
    longest = int(np.argmax(own.characters))
    counts = _counts(split, len(names)) if names else []
    parts = Counter(part for part in split.parts if part)
    return SplitProfile(
        rows=len(split),
        parts=dict(parts),
        classes=dict(zip(names, counts, strict=True)),
        labelled=len(split.labels),
        numbers=numbers,
        lists=None if split.groups is None else len(np.unique(split.groups)),
        constant=_constant_parts(split) if split.answers is None else (),
        longest=int(own.characters[longest]),
        longest_row=longest + 1,
        repeated=len(own.texts) - len(np.unique(own.texts)),
        contradictory=_contradictory(own),
        also_in={name: _overlap(own, other) for name, other in earlier.items()},
    )


def _counts(split: Split, classes: int) -> list[int]:
    """Count the rows (words in tagging) of each class; of several labels a row counts for each that it has."""
    if split.multi_label:
        return [int(count) for count in split.labels.sum(axis=0)]
    return [int(count) for count in np.bincount(split.labels.astype(np.int64), minlength=classes)]


def _constant_parts(split: Split) -> tuple[str, ...]:
    """Return the parts whose labels are all the same, or hold no entity, or no label of several."""
    tags = np.array(split.tags or (), dtype=object)
    entities = OUTSIDE in tags
    rows = np.array(split.parts, dtype=object)
    found = []
    for part in dict.fromkeys(split.parts):
        labels = split.labels[split.predictions_in(rows == part)]
        if split.multi_label:
            found += [part] if not labels.any() else []
            continue
        kinds = np.unique(labels)
        if len(kinds) < 2 and (not entities or all(tags[kinds] == OUTSIDE)):
            found.append(part)
    return tuple(found)


def _contradictory(own: RowKeys) -> int:
    """Count the rows whose texts occur with several labels."""
    pairs = np.unique(np.stack([own.texts, own.labelled], axis=1), axis=0)
    texts, labels = np.unique(pairs[:, 0], return_counts=True)
    return int(np.isin(own.texts, texts[labels > 1]).sum())


def _overlap(own: RowKeys, other: RowKeys) -> Overlap:
    found: NDArray[np.bool_] = np.isin(own.texts, other.texts)
    differing = found & ~np.isin(own.labelled, other.labelled)
    return Overlap(int(found.sum()), int(differing.sum()))


_BYTES = 8
# Separates two columns; it counts as white space, which is normalised, so no text contains it.
_BETWEEN = "\x1f"


@dataclass(frozen=True)
class RowKeys:
    """Keys of the N rows of a split.

    Attributes:
        texts: equal where two rows have the same texts, ignoring case and white space, uint64 [N].
        labelled: equal where they also have the same label (tags, labels), uint64 [N].
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
    size = split.labels.itemsize * (split.labels.shape[1] if split.multi_label else 1)
    labels, start = split.labels.tobytes(), 0
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
