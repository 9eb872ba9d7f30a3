"""Rows from the hub, or from a local folder of the same form (parquet, csv or json files, with or without a README)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sdp.data.files import CHUNK, Columns, missing_columns
from sdp.errors import DataError


def hub_chunks(
    dataset: str, config: str | None, split: str, revision: str | None, columns: Sequence[str]
) -> Iterator[Columns]:
    """Read the named columns of one split of a hub data set, some rows at a time.

    Class ids become class names where the set has them.

    Args:
        dataset: hub id or folder.
        config: configuration, or None for the only one.
        split: name of the split.
        revision: of a hub data set.
        columns: names of the wanted columns.

    Raises:
        DataError: the data set, configuration, split or a column is not there, or the hub cannot be reached.
    """
    import datasets

    datasets.disable_progress_bars()
    where = ", ".join(part for part in (dataset, config, split) if part)
    try:
        rows: Any = datasets.load_dataset(dataset, config, split=split, revision=revision)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "Check data.dataset, data.config and the split; offline, give a local folder in hub form or plain files."
        if "scripts are no longer supported" in reason:
            hint = 'Give a copy as parquet: data.dataset = ..., or often data.revision = "refs/convert/parquet".'
        raise DataError(f"the data set cannot be loaded: {reason}", where=where, hint=hint) from None
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise missing_columns(missing, rows.column_names, where)
    if not len(rows):
        raise DataError("the split has no rows", where=where)
    features = rows.features
    for chunk in rows.select_columns(list(columns)).iter(CHUNK):
        yield {name: _with_names(features[name], chunk[name]) for name in columns}


def _with_names(feature: Any, values: list[Any]) -> list[Any]:
    """A column's values, with the names of classes, or of the classes in lists, for their numbers."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return [_named(feature, value) for value in values]
    inner = getattr(feature, "feature", None)
    if isinstance(inner, datasets.ClassLabel):
        return [None if row is None else [_named(inner, value) for value in row] for row in values]
    return list(values)


def _named(feature: Any, value: Any) -> Any:
    return value if value is None or value < 0 else feature.int2str(value)
