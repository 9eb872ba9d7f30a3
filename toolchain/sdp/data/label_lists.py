"""The labels of each row of a multi-label task: lists in one column, or a column of 0 and 1 for each label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdp.data.files import Columns
from sdp.data.value_names import is_missing, spelling
from sdp.data.words import list_of_text
from sdp.errors import DataError

SEPARATOR = "|"
"""Between the labels of a row where a column holds them as text, as tsv and csv do."""

_HAS_IT = {"0": False, "false": False, "1": True, "true": True}


def label_lists(columns: Columns, names: Sequence[str], where: str, first: int = 1) -> list[tuple[object, ...]]:
    """Return the labels of every row; a row may have none.

    Args:
        columns: the columns of the file.
        names: one column whose values are lists (in text: as JSON, as Python prints them, or with "|" between the
            labels), or several columns, one a label, of 0 and 1.
        where: the file or data set, for messages.
        first: number of the first row in it.

    Raises:
        DataError: a value is missing, or in a column of a label neither 0 nor 1.
    """
    places = [f"{where}, row {row}" for row in range(first, first + len(columns[names[0]]))]
    if len(names) == 1:
        return [_items(value, names[0], place) for value, place in zip(columns[names[0]], places, strict=True)]
    has = {
        name: [_has(value, name, place) for value, place in zip(columns[name], places, strict=True)] for name in names
    }
    return [tuple(name for name in names if has[name][row]) for row in range(len(places))]


def _items(value: object, column: str, where: str) -> tuple[object, ...]:
    if isinstance(value, str):
        found = list_of_text(value) if value.strip().startswith("[") else None
        items = [part.strip() for part in value.split(SEPARATOR)] if found is None and value.strip() else found or []
    elif isinstance(value, np.ndarray):
        items = value.tolist()
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        items = list(value)
    elif is_missing(value):
        hint = "Write an empty list, or an empty text, where a row has no label."
        raise DataError(f'the column "{column}" has no value', where=where, hint=hint)
    else:
        items = [value]
    return tuple(items)


def _has(value: object, column: str, where: str) -> bool:
    """Whether a row has the label of a column."""
    found = None if is_missing(value) else _HAS_IT.get(spelling(str(value)))
    if found is None:
        hint = "With several columns in data.label each holds 0 or 1; one column may hold the labels of a row."
        raise DataError(f'the column "{column}" holds {value!r}, which is neither 0 nor 1', where=where, hint=hint)
    return found
