"""From label values to class ids or scores. The training split defines the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import RawSplit
from sdp.errors import DataError


def class_names(train: RawSplit) -> tuple[str, ...]:
    """The classes of a task: the labels that occur in training, integers in numerical order, strings sorted.

    Raises:
        DataError: a label is missing, or all rows have the same.
    """
    names = {_class_name(train, row) for row in range(len(train.labels))}
    if len(names) < 2:
        raise DataError(f"every training row has the same label ({', '.join(names)})", where=train.where)
    if all(_is_integer(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def class_ids(split: RawSplit, names: Sequence[str]) -> NDArray[np.int64]:
    """The class id of every row, [N].

    Raises:
        DataError: a label is missing, or does not occur in training.
    """
    known = {name: index for index, name in enumerate(names)}
    ids = np.empty(len(split.labels), dtype=np.int64)
    for row in range(len(split.labels)):
        name = _class_name(split, row)
        if name not in known:
            hidden = " (a test set with hidden labels has -1 everywhere)" if name == "-1" else ""
            shown = ", ".join(names[:20])
            raise DataError(
                f'the label "{name}" does not occur in training{hidden}',
                where=f"{split.where}, row {row + 1}",
                hint=f"Labels in training: {shown}.",
            )
        ids[row] = known[name]
    return ids


def scores(split: RawSplit) -> NDArray[np.float32]:
    """The regression target of every row, [N].

    Raises:
        DataError: a value is no finite number.
    """
    values = np.empty(len(split.labels), dtype=np.float32)
    for row, label in enumerate(split.labels):
        try:
            value = float(str(label))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"the label {label!r} is no finite number", where=f"{split.where}, row {row + 1}")
        values[row] = value
    return values


def _class_name(split: RawSplit, row: int) -> str:
    label = split.labels[row]
    name = "" if label is None else str(int(label)) if isinstance(label, bool) else str(label)
    # Integers that came through a float column (1.0) are integers.
    if isinstance(label, float) and label.is_integer():
        name = str(int(label))
    if name in ("", "nan"):
        raise DataError("the label is missing", where=f"{split.where}, row {row + 1}")
    return name


def _is_integer(name: str) -> bool:
    return name.removeprefix("-").isdecimal()
