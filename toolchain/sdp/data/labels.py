"""From label values to class ids, tag ids, scores or relevances. The task or the training split defines the classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import RawSplit
from sdp.errors import DataError

_LARGEST = float(np.finfo(np.float32).max)


def class_names(train: RawSplit) -> tuple[str, ...]:
    """The classes of a task: the labels (tags) that occur in training, integers in numerical order, strings sorted.

    Raises:
        DataError: a label is missing, or all rows have the same.
    """
    names = {_class_name(label, where) for label, where in _values(train)}
    if len(names) < 2:
        raise DataError(f"every training row has the same label ({', '.join(names)})", where=train.where)
    if all(_is_integer(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def class_ids(split: RawSplit, names: Sequence[str], *, fixed: bool = False) -> NDArray[np.int64]:
    """The class id of every row, [N], or of every word of every row, [W].

    Args:
        split: the rows.
        names: the classes in the order of their ids.
        fixed: whether they are those of a benchmark, of which a number may stand for the class of that id.

    Raises:
        DataError: a label is missing, or is none of the classes.
    """
    known = {name: index for index, name in enumerate(names)}
    if fixed:
        known = {str(index): index for index in range(len(names))} | known
    # Tags repeat: each distinct one is looked up once.
    found: dict[object, int] = {}
    ids = []
    for label, where in _values(split):
        _check_kind(label, where)
        if label not in found:
            name = _class_name(label, where)
            if name not in known:
                raise _unknown(name, names, where, fixed=fixed)
            found[label] = known[name]
        ids.append(found[label])
    return np.array(ids, dtype=np.int64)


def _unknown(name: str, names: Sequence[str], where: str, *, fixed: bool) -> DataError:
    hidden = " (a test set with hidden labels has -1 everywhere)" if name == "-1" else ""
    what = "is no class of the task" if fixed else "does not occur in training"
    source = "Classes" if fixed else "Labels in training"
    shown = ", ".join(names[:20])
    return DataError(f'the label "{name}" {what}{hidden}', where=where, hint=f"{source}: {shown}.")


def scores(split: RawSplit, grades: Sequence[str] = ()) -> NDArray[np.float32]:
    """The regression target of every row, [N].

    Args:
        split: the rows.
        grades: names that stand for 0, 1, 2, ...; none where labels are numbers only.

    Raises:
        DataError: a value is neither a grade nor a finite number.
    """
    by_name = {name: float(index) for index, name in enumerate(grades)}
    values = np.empty(len(split.labels), dtype=np.float32)
    for row, label in enumerate(split.labels):
        try:
            value = by_name[str(label)] if str(label) in by_name else float(str(label))
        except ValueError:
            value = math.nan
        # A number beyond float32 would become infinite in training.
        if not abs(value) <= _LARGEST:
            known = f" and none of {', '.join(grades)}" if grades else ""
            raise DataError(f"the label {label!r} is no finite number{known}", where=f"{split.where}, row {row + 1}")
        values[row] = value
    return values


def relevances(split: RawSplit, grades: Sequence[str] = ()) -> NDArray[np.float32]:
    """The relevance of every row of a ranking, [N]: a score of 0 or more, as NDCG wants it.

    Raises:
        DataError: as `scores`, or a value is negative, or a part of the split has no list with different relevances.
    """
    values = scores(split, grades)
    if len(values) and values.min() < 0:
        row = int(np.argmin(values)) + 1
        raise DataError(f"a relevance is 0 or more, not {values.min():g}", where=f"{split.where}, row {row}")
    levels: dict[tuple[str, object], set[float]] = {}
    for part, group, value in zip(split.parts, split.groups, values.tolist(), strict=True):
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
    """The number of the list that each row belongs to, [N]; equal values in two parts are two lists."""
    numbers: dict[tuple[str, str], int] = {}
    keys = ((part, str(group)) for part, group in zip(split.parts, split.groups, strict=True))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _values(split: RawSplit) -> Iterator[tuple[object, str]]:
    """Every label, or every tag of every row, with its place."""
    for row, label in enumerate(split.labels, start=1):
        where = f"{split.where}, row {row}"
        tags: Iterable[object] = label if isinstance(label, tuple) else (label,)
        for tag in tags:
            yield tag, where


def _check_kind(label: object, where: str) -> None:
    """See that a label is one value: a list or an object has no name."""
    if isinstance(label, list | tuple | dict | bytes | np.ndarray):
        shown = repr(label)
        what = f"the label is {shown if len(shown) < 40 else type(label).__name__}, which is neither text nor a number"
        raise DataError(what, where=where)


def _class_name(label: object, where: str) -> str:
    _check_kind(label, where)
    name = "" if label is None else str(int(label)) if isinstance(label, bool) else str(label)
    # Integers that came through a float column (1.0) are integers.
    if isinstance(label, float) and label.is_integer():
        name = str(int(label))
    if name in ("", "nan"):
        raise DataError("the label is missing", where=where)
    return name


def _is_integer(name: str) -> bool:
    return name.removeprefix("-").isdecimal()
