"""Convert labels to class ids, tag ids, sets of labels, scores or relevances.

The task or the training split defines the classes.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import RawSplit
from sdp.data.value_names import check_spellings, is_integer, spelling, value_name
from sdp.errors import DataError

_LARGEST = float(np.finfo(np.float32).max)


def class_names(train: RawSplit) -> tuple[str, ...]:
    """Return the classes of a task: the labels (tags) in training, integers in numerical order, strings sorted.

    Names are compared as text: "1", "01" and "001" are three classes, and equal values are sorted by text.

    Raises:
        DataError: a label is missing, all rows have the same label, or one label is written in two ways.
    """
    names = {name for name, _ in _names(train)}
    if len(names) < 2:
        raise DataError(f"every training row has the same label ({', '.join(sorted(names))})", where=train.where)
    return _in_order(names, train.where)


def label_set_names(train: RawSplit) -> tuple[str, ...]:
    """Return the labels of a multi-label task: those that occur in training, in the order of `class_names`.

    Raises:
        DataError: fewer than two labels occur, or one label is written in two ways.
    """
    names = {name for name, _ in _names(train)}
    if len(names) < 2:
        found = f"the label {min(names)} alone" if names else "no label"
        raise DataError(
            f"{found} occurs in training, and a multi-label task has two or more",
            where=train.where,
            hint='A column of text holds the labels of a row with "|" between them.',
        )
    return _in_order(names, train.where)


def _in_order(names: set[str], where: str) -> tuple[str, ...]:
    check_spellings(names, where)
    # A column of floats that are whole numbers, written as text.
    whole = {spelling(name) for name in names}
    if all(is_integer(name) for name in whole):
        return tuple(sorted(whole, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def class_ids(split: RawSplit, names: Sequence[str], *, fixed: bool = False) -> NDArray[np.int64]:
    """Return the class id of every row, [N], or of every word of every row, [W].

    Args:
        split: the rows.
        names: the classes in the order of their ids.
        fixed: whether a benchmark defines them; a number may then stand for the class with that id.

    Raises:
        DataError: a label is missing, or is not one of the classes.
    """
    known = {name: index for index, name in enumerate(names)}
    if fixed:
        known = {str(index): index for index in range(len(names))} | {"False": 0, "True": 1} | known
    spelled = {spelling(name): index for name, index in known.items()}
    ids = []
    for name, where in _names(split):
        index = known[name] if name in known else spelled.get(spelling(name))
        if index is None:
            raise _unknown(name, names, where, fixed=fixed)
        ids.append(index)
    return np.array(ids, dtype=np.int64)


def label_sets(split: RawSplit, names: Sequence[str]) -> NDArray[np.float32]:
    """Return which labels every row has, 1 or 0, [N, C].

    Args:
        split: the rows, each with the tuple of its labels.
        names: the labels in the order of their ids.

    Raises:
        DataError: a label is missing, or is not one of the names.
    """
    ids = class_ids(split, names)
    rows = np.repeat(np.arange(len(split.labels)), [len(own) for own in split.labels if isinstance(own, tuple)])
    sets = np.zeros((len(split.labels), len(names)), dtype=np.float32)
    sets[rows, ids] = 1
    return sets


def _unknown(name: str, names: Sequence[str], where: str, *, fixed: bool) -> DataError:
    hidden = " (a test set with hidden labels has -1 everywhere)" if name == "-1" else ""
    what = "is no class of the task" if fixed else "does not occur in training"
    source = "Classes" if fixed else "Labels in training"
    shown = ", ".join(names[:20])
    return DataError(f'the label "{name}" {what}{hidden}', where=where, hint=f"{source}: {shown}.")


def scores(split: RawSplit, grades: Sequence[str] = ()) -> NDArray[np.float32]:
    """Return the regression target of every row, [N].

    Args:
        split: the rows.
        grades: names that stand for 0, 1, 2, ...; empty where labels are numbers only.

    Raises:
        DataError: a value is neither a grade nor a finite number.
    """
    by_name = {name: float(index) for index, name in enumerate(grades)}
    values = np.empty(len(split.labels), dtype=np.float32)
    for row, label in enumerate(split.labels):
        value = by_name.get(str(label), _number(str(label)))
        # A number beyond float32 would become infinite in training.
        if not abs(value) <= _LARGEST:
            known = f" and none of {', '.join(grades)}" if grades else ""
            comma = "Numbers are written with a point: 0.5." if "," in str(label) else ""
            what = f"the label {label!r} is no finite number{known}"
            raise DataError(what, where=split.place_of(row), hint=comma)
        values[row] = value
    return values


def _number(text: str) -> float:
    """Parse a text as a number, without Python's underscores between digits; NaN if it is not a number."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def relevances(split: RawSplit, grades: Sequence[str] = ()) -> NDArray[np.float32]:
    """Return the relevance of every row of a ranking, [N]: a score of 0 or more, as NDCG requires.

    Raises:
        DataError: as `scores`, or a value is negative, or a part of the split has no list with different relevances.
    """
    values = scores(split, grades)
    if len(values) and values.min() < 0:
        row = int(np.argmin(values))
        raise DataError(f"a relevance is 0 or more, not {values.min():g}", where=split.place_of(row))
    levels: dict[tuple[str, int], set[float]] = {}
    for part, group, value in zip(split.parts, group_numbers(split).tolist(), values.tolist(), strict=True):
        levels.setdefault((part, group), set()).add(value)
    for part in sorted(set(split.parts)):
        if not any(len(found) > 1 for (owner, _), found in levels.items() if owner == part):
            within = f" {part}" if part else ""
            raise DataError(
                f"no list{within} has rows of different relevance: there is nothing to rank",
                where=split.where,
                hint="data.group names the column whose equal values form a list, such as the query.",
            )
    return values


def group_numbers(split: RawSplit) -> NDArray[np.int64]:
    """Return the number of the list of each row, [N]; equal values in two parts are two lists.

    Raises:
        DataError: a row belongs to no list.
    """
    numbers: dict[tuple[str, str], int] = {}
    names = (value_name(group, "value of data.group", split.place_of(row)) for row, group in enumerate(split.groups))
    keys = zip(split.parts, names, strict=True)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _names(split: RawSplit) -> Iterator[tuple[str, str]]:
    """Yield the name of every label, or of every tag of every row, with its place."""
    # Tags repeat, so names are cached by value; 1, 1.0 and True are equal and have the same hash.
    found: dict[tuple[type, object], str] = {}
    for row, label in enumerate(split.labels):
        where = split.place_of(row)
        tags: Iterable[object] = label if isinstance(label, tuple) else (label,)
        for tag in tags:
            key = (type(tag), tag if isinstance(tag, Hashable) else None)
            if key not in found:
                found[key] = value_name(tag, "label", where)
            yield found[key], where
