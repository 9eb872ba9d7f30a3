"""Texts without labels: a pruned network learns from its unpruned self what to compute for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from sdp.data.corpus import is_plain_text, named_files
from sdp.data.files import all_chunks, read_lines
from sdp.data.load import text_rows
from sdp.data.rows import TaskData
from sdp.data.rows_on_disk import StoredTexts, TextFile, Texts
from sdp.data.source import resolve_source
from sdp.data.words import word_lists
from sdp.errors import DataError
from sdp.recipe.sections import Recipe

_WHERE = "data.unlabeled"
_CHUNK = 1000


def unlabeled_identity(recipe: Recipe) -> dict[str, str]:
    """Hash every file of unlabelled text (SHA-256), by number and name.

    Raises:
        DataError: a file is missing.
    """
    identity = {}
    for number, path in enumerate(_files(recipe), start=1):
        with path.open("rb") as stream:
            identity[f"{number}: {path.name}"] = hashlib.file_digest(stream, "sha256").hexdigest()
    return identity


def read_unlabeled(recipe: Recipe, data: TaskData) -> StoredTexts:
    """Read the rows of all files of `data.unlabeled`, without those that the labelled data has, each once.

    Two rows are equal if their texts are, whatever their case and the white space between their words. Rows of dev and
    test are left out, because the network is evaluated on them, and rows of train, because it sees them anyway.

    Args:
        recipe: the recipe.
        data: its labelled data.

    Returns:
        a row's texts, one a column; its words for tagging; a single text for embeddings. They are on the disk.

    Raises:
        DataError: a file cannot be read or holds something else than texts, or no row is left.
    """
    splits = [split for split in (data.train, data.dev, data.test) if split is not None]
    if recipe.task.problem_type == "embedding":
        splits = [split.apart() for split in splits]
    seen = {_key(row) for split in splits for row in split.texts}
    stored, count = TextFile(), 0
    for path in _files(recipe):
        rows = _rows(recipe, path)
        while chunk := list(islice(rows, _CHUNK)):
            # The first of equal rows stays.
            new = {key: row for row in reversed(chunk) if (key := _key(row)) not in seen}
            seen |= new.keys()
            stored.add(list(new.values())[::-1])
            count += len(new)
    if not count:
        what = "no text is left: the files are empty, or all of it is in train, dev or test"
        raise DataError(what, where=_WHERE, hint="Name other files, or remove the key.")
    return stored.close()


def _key(row: Sequence[str]) -> bytes:
    """A hash of a row's texts in lower case with single spaces: millions of rows are compared in memory."""
    text = "\0".join(" ".join(part.casefold().split()) for part in row)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _files(recipe: Recipe) -> Iterator[Path]:
    languages = tuple(dict.fromkeys((*recipe.task.train_languages, *recipe.task.languages)))
    for _, path in named_files(recipe.data.unlabeled or (), languages, _WHERE):
        yield path


def _rows(recipe: Recipe, path: Path) -> Iterator[Texts]:
    """Yield the rows of a file, blank ones left out."""
    columns = () if recipe.data.docstrings is not None else resolve_source(recipe).text
    kind = recipe.task.problem_type
    tagging, apart = kind == "tagging", kind == "embedding"
    lines = is_plain_text(path)
    found = _lines(path, 1 if apart else len(columns), tagging=tagging) if lines else _table(path, columns, tagging)
    if apart:
        found = ((text,) for row in found for text in row)
    yield from (row for row in found if any(text.strip() for text in row))


def _lines(path: Path, columns: int, *, tagging: bool) -> Iterable[Texts]:
    if columns > 1:
        what = f"the task reads {columns} texts in a row, and a txt file has one"
        raise DataError(what, where=str(path), hint="Give a table (tsv, csv, jsonl, parquet) with the task's columns.")
    return (tuple(line.split()) if tagging else (line,) for line in read_lines(path))


def _table(path: Path, columns: Sequence[str], tagging: bool) -> Iterator[Texts]:
    if not columns:
        raise DataError("the recipe names no text columns", where=str(path), hint="Give a txt file, one text a line.")
    first = 1
    for chunk in all_chunks(path, columns):
        if tagging:
            yield from word_lists(chunk[columns[0]], columns[0], str(path), first)
        else:
            yield from text_rows([chunk[name] for name in columns], columns, str(path), first)
        first += len(chunk[columns[0]])
