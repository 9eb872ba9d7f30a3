"""Rows from the hub, or from a local folder of the same form (parquet, csv or json files, with or without a README)."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdp.compat.datasets import resolve_features
from sdp.data.files import CHUNK, Columns, all_chunks, check_decompression, missing_columns
from sdp.data.source import SUFFIXES
from sdp.data.value_names import with_names
from sdp.errors import DataError, SdpError
from sdp.pipeline.files import storage_error

_FILE_CONFIGS = ("CsvConfig", "JsonConfig", "ParquetConfig")
_NEUTRAL_SETTINGS = (
    *("name", "version", "data_dir", "data_files", "description", "features"),
    *("index_col", "engine", "chunksize", "batch_size", "use_threads", "block_size", "keep_default_na", "na_filter"),
)
"""Settings of `datasets` that do not describe a file's content, or that sdp does not follow."""


def hub_chunks(
    dataset: str, config: str | None, split: str, revision: str | None, columns: Sequence[str]
) -> Iterator[Columns]:
    """Read the named columns of one split of a hub data set in chunks of rows.

    Class ids become class names where the set has them. A folder's files are always read anew: the cache of `datasets`
    identifies them by modification time alone. Unless the README configures otherwise, they are read like files that a
    recipe names: `datasets` would turn texts that look like numbers, dates or missing values into these.

    Args:
        dataset: hub id or folder.
        config: configuration, or None for the only one.
        split: name of the split.
        revision: of a hub data set.
        columns: names of the wanted columns.

    Raises:
        DataError: the data set, configuration, split or a column does not exist, a file is damaged or lies outside the
            folder, or the hub cannot be reached.
        StorageError: the disk with the cache of a hub data set is full or rejects writes.
    """
    import datasets

    datasets.disable_progress_bars()
    # What it logs is reported below, once.
    datasets.logging.set_verbosity(logging.CRITICAL)
    # Its streaming readers would import torch, which `sdp check` does not need.
    datasets.config.TORCH_AVAILABLE = False
    where = ", ".join(part for part in (dataset, config, split) if part)
    hint = "Check data.dataset, data.config and the split; offline, give a local folder in hub form or plain files."
    folder = Path(dataset)
    if folder.is_dir():
        with _data_set_errors(where, hint):
            builder = _folder_builder(folder, config)
        yield from _folder_chunks(builder, folder, config, split, columns, where)
        return
    with _data_set_errors(where, hint):
        rows = load_prepared(dataset, config, split, revision=revision)
        yield from _chunks(rows, columns, where)


def load_prepared(dataset: str, config: str | None, split: str, **settings: Any) -> Any:
    """Load a split that `datasets` prepares in its cache; CSV columns are text, and no value counts as missing."""
    import datasets

    rows = datasets.load_dataset(dataset, config, split=split, **settings)
    if rows.info.builder_name != "csv":
        return rows
    return datasets.load_dataset(dataset, config, split=split, **settings, **_as_text(rows.features))


def _as_text(features: Any) -> dict[str, Any]:
    """Return settings with which `datasets` reads all CSV columns as text, except numbers of named classes."""
    import datasets

    kinds = {name: kind if _classes_of(kind) else datasets.Value("string") for name, kind in features.items()}
    return {"features": datasets.Features(kinds), "keep_default_na": False}


def _folder_chunks(
    builder: Any, folder: Path, config: str | None, split: str, columns: Sequence[str], where: str
) -> Iterator[Columns]:
    files = _files_of(builder, folder, split, where)
    place = str(files[0]) if len(files) == 1 else where
    with _data_set_errors(place, "Correct the file."):
        if not all(_reads_as_file(builder.config, file) for file in files):
            for file in files:
                check_decompression(file, columns)
            rows = _with_columns(builder.as_streaming_dataset(split), place)
            if type(builder.config).__name__ == "CsvConfig":
                rows = _folder_builder(folder, config, **_as_text(rows.features)).as_streaming_dataset(split)
            yield from _chunks(rows, columns, place)
            return
        features, found = builder.info.features or {}, False
        for chunk in (chunk for file in files for chunk in all_chunks(file, columns)):
            found = True
            yield {name: with_names(chunk[name], _classes_of(features.get(name))) for name in columns}
        if not found:
            raise _no_rows(place)


def _reads_as_file(config: Any, file: Path) -> bool:
    """Whether a file of a data set is read like a file that a recipe names: a known format without special settings."""
    changed = {
        field.name
        for field in dataclasses.fields(config)
        if field.name not in _NEUTRAL_SETTINGS and getattr(config, field.name) != getattr(type(config)(), field.name)
    }
    if file.name.removesuffix(".gz").endswith(".tsv") and config.sep == "\t":
        changed -= {"sep", "delimiter"}
    return type(config).__name__ in _FILE_CONFIGS and file.name.removesuffix(".gz").endswith(SUFFIXES) and not changed


def folder_files(folder: Path) -> dict[str, Path]:
    """Return the content files of a folder in hub form, by their names within it."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(name): path for name, path in found.items() if ".cache" not in name.parts}


def _folder_builder(folder: Path, config: str | None, **settings: Any) -> Any:
    """Return the builder with which `datasets` reads a folder; it needs a folder for its lock, and stores nothing."""
    import datasets

    with tempfile.TemporaryDirectory() as scratch:
        builder = datasets.load_dataset_builder(str(folder), config, cache_dir=scratch, **settings)
    # Otherwise a first field without a name in the header would shift all names by one column.
    if getattr(builder.config, "index_col", False) is None:
        builder.config.index_col = False
    return builder


def _files_of(builder: Any, folder: Path, split: str, where: str) -> list[Path]:
    """Return the files of a split, or of several splits joined with a plus.

    Raises:
        DataError: there is no such split, or the README names data that is not part of the folder.
    """
    known = {str(folder.resolve() / name) for name in folder_files(folder)}
    given: dict[str, list[str]] = {str(name): files for name, files in (builder.config.data_files or {}).items()}
    for file in (file for files in given.values() for file in files):
        if os.path.normpath(file) not in known:
            hint = "Copy it there and correct data_files: the run is up to date as long as the folder is."
            raise DataError(f"README.md names data outside of the folder: {file}", where=str(folder), hint=hint)
    names = split.split("+")
    if not given.keys() >= set(names):
        hint = "Name whole splits with data.train, data.dev and data.test."
        raise DataError(f"no such split; the splits are {', '.join(given)}", where=where, hint=hint)
    return [Path(file) for name in names for file in given[name]]


def _chunks(rows: Any, columns: Sequence[str], where: str) -> Iterator[Columns]:
    """Yield the named columns of a data set in chunks of rows."""
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise missing_columns(missing, rows.column_names, where)
    for name in columns:
        if str(getattr(rows.features[name], "dtype", "")).startswith(("timestamp", "date")):
            what = f'the column "{name}" holds dates; the library datasets also converts texts that look like dates'
            hint = "Write it as a column of strings in csv, jsonl or parquet, and give the folder with data.dataset."
            raise DataError(what, where=where, hint=hint)
    features, chunks, found = rows.features, rows.select_columns(list(columns)).iter(CHUNK), False
    while True:
        with _strict_field_count(where):
            chunk = next(chunks, None)
        if chunk is None:
            break
        found = True
        yield {name: with_names(chunk[name], _classes_of(features[name])) for name in columns}
    if not found:
        raise _no_rows(where)


def _with_columns(stream: Any, where: str) -> Any:
    """Return a stream of rows with columns and types, from its first rows or from the README."""
    if stream.column_names is not None:
        return stream
    try:
        with _strict_field_count(where):
            return resolve_features(stream)
    except StopIteration:
        raise _no_rows(where) from None


@contextmanager
def _strict_field_count(where: str) -> Iterator[None]:
    """Raise DataError for lines with more fields than the header, which pandas truncates with a warning."""
    from pandas.errors import ParserWarning

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Length of header", ParserWarning)
        try:
            yield
        except ParserWarning:
            hint = "Put fields that hold a separator in quotes."
            raise DataError("a line has more fields than the header", where=where, hint=hint) from None


@contextmanager
def _data_set_errors(where: str, hint: str) -> Iterator[None]:
    """Raise errors of a data set as DataError."""
    import datasets

    try:
        yield
    except SdpError:
        raise
    # A damaged file, an invalid README, an archive: the readers of the formats raise exceptions of any type.
    except Exception as error:
        if (full := storage_error(error, str(datasets.config.HF_DATASETS_CACHE))) is not None:
            raise full from None
        wrapped = isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__
        cause = wrapped or error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        if "scripts are no longer supported" in reason:
            hint = 'Give a copy as parquet: data.dataset = ..., or often data.revision = "refs/convert/parquet".'
        raise DataError(f"the data set cannot be loaded: {reason}", where=where, hint=hint) from None


def _no_rows(where: str) -> DataError:
    return DataError("the split has no rows", where=where)


def _classes_of(feature: Any) -> tuple[str, ...]:
    """Return the class names of a column, or of the lists in it; empty where classes have no names."""
    import datasets

    for candidate in (feature, getattr(feature, "feature", None)):
        if isinstance(candidate, datasets.ClassLabel):
            return tuple(candidate.names)
    return ()
