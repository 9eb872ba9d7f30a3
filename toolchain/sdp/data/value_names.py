"""Names of the values in a column of labels or groups, the same for every file format.

A text is its own name: "nan", "null" and "01" are names. Formats with types give the same names: an integer its digits,
a whole number in a column of floats too (1.0 is 1), a boolean True or False. A missing value (null, NaN, an empty or
blank field) has no name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from sdp.data.untrusted import UntrustedDataError
from sdp.errors import DataError

_WHOLE = re.compile(r"(-?[0-9]{1,1000})\.0+")
_INTEGER = re.compile(r"-?[0-9]{1,1000}")
_BOOLEANS = ("true", "false")


def value_name(value: object, role: str, where: str) -> str:
    """Return the name of a class, a tag or a list.

    Args:
        value: the value in the file.
        role: its role, for messages, such as "label".
        where: file and row, for messages.

    Raises:
        DataError: it is missing, or neither text nor a finite number.
    """
    if isinstance(value, str):
        name = value
    elif isinstance(value, float | Decimal) and math.isfinite(value):
        name = str(int(value)) if value == int(value) else str(value)
    elif isinstance(value, int):
        name = str(value)
    elif is_missing(value):
        name = ""
    else:
        shown = repr(value)
        what = f"the {role} is {shown if len(shown) < 40 else type(value).__name__}, which is neither text nor a number"
        raise DataError(what, where=where, hint="Write it as text.")
    if not name.strip():
        raise DataError(f"the {role} is missing", where=where, hint="Fill it in, or remove the row.")
    return name


def is_missing(value: object) -> bool:
    """Whether a value is missing: null, or NaN in a column of numbers."""
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def is_integer(name: str) -> bool:
    """Whether a name stands for an integer."""
    return _INTEGER.fullmatch(name) is not None


def spelling(name: str) -> str:
    """Return the key that names of one value share across formats: 1 and 1.0, True and true, "x" and "x "."""
    bare = name.strip()
    if bare.lower() in _BOOLEANS:
        return bare.lower()
    whole = _WHOLE.fullmatch(bare)
    return whole[1] if whole else bare


def check_spellings(names: Iterable[str], where: str) -> None:
    """Check that no class is written in two ways.

    Raises:
        DataError: two names stand for one class.
    """
    written: dict[str, str] = {}
    for name in sorted(names):
        other = written.setdefault(spelling(name), name)
        if other != name:
            what = f'the labels "{other}" and "{name}" differ only in how they are written'
            raise DataError(what, where=where, hint="Write one of them in every row.")


_METADATA = b"huggingface"


def with_names(values: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Replace class numbers, also in lists, by class names; values stay where no names are given.

    A negative number is a hidden label.

    Raises:
        UntrustedDataError: a number has no class.
    """
    return [_named(value, names) for value in values] if names else list(values)


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list | tuple):
        return with_names(value, names)
    if isinstance(value, str) and value not in names and value.isdecimal() and value.isascii():
        value = int(value[:10])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or value < 0:
        return value
    if value >= len(names):
        raise UntrustedDataError(f"the class number {value}, where {len(names)} classes are named")
    return names[value]


def named_in_metadata(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return column -> class names from the metadata of parquet files that datasets wrote."""
    try:
        features = json.loads((metadata or {})[_METADATA])["info"]["features"]
        return {str(column): names for column, feature in features.items() if (names := _names(feature))}
    # The metadata has no classes, or datasets did not write it.
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return {}


def _names(feature: Any) -> list[str]:
    """Return the classes of a column, or of the lists in it."""
    inner = feature.get("feature") if isinstance(feature, dict) else None
    for candidate in (feature, inner):
        if isinstance(candidate, dict) and candidate.get("_type") == "ClassLabel":
            names = candidate.get("names")
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return names
    return []
