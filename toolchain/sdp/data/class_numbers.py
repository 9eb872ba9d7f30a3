"""Numbers of classes that a data set stores beside the names (`ClassLabel` of the library datasets)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sdp.data.untrusted import UntrustedDataError

_METADATA = b"huggingface"


def with_names(values: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """The names of classes, or of the classes in lists, for their numbers; the values where no names are given.

    A negative number is a hidden label.

    Raises:
        UntrustedDataError: there is no class of a number.
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
    """Column -> the names of its classes, out of the metadata with which datasets writes parquet files."""
    try:
        features = json.loads((metadata or {})[_METADATA])["info"]["features"]
        return {str(column): names for column, feature in features.items() if (names := _names(feature))}
    # Nothing about classes in it, or nothing that datasets wrote.
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return {}


def _names(feature: Any) -> list[str]:
    """The classes of a column, or of the lists in it."""
    inner = feature.get("feature") if isinstance(feature, dict) else None
    for candidate in (feature, inner):
        if isinstance(candidate, dict) and candidate.get("_type") == "ClassLabel":
            names = candidate.get("names")
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return names
    return []
