"""Private APIs of datasets, checked with 5.2."""

from __future__ import annotations

from typing import Any


def resolve_features(stream: Any) -> Any:
    """An `IterableDataset` that knows its columns and their types, by its first rows.

    A stream of files without declared types has neither, and the only public way to find out is to read rows, whose
    types are then Python's.

    Raises:
        StopIteration: the stream has no rows.
    """
    return stream._resolve_features()
