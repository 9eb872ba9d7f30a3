"""Sentences for tagging: a column of words and a column of tags, one tag for each word."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence

import numpy as np

from sdp.data.files import Columns
from sdp.data.value_names import is_missing
from sdp.errors import DataError

Sentences = tuple[list[tuple[str, ...]], list[tuple[object, ...]]]

_STRING = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# A comma is required between items: Python joins two adjacent strings, which is how numpy prints them.
_LIST_OF_STRINGS = re.compile(rf"\[\s*{_STRING}\s*(?:,\s*{_STRING}\s*)*,?\s*\]", re.DOTALL)


def sentences(columns: Columns, words: str, tags: str, where: str, first: int = 1) -> Sentences:
    """Return the words and tags of every row; a string is parsed as a list (['a', 'b']), or split at its spaces.

    Two consecutive spaces enclose an empty word, so that words and tags stay aligned.

    Args:
        columns: the columns of the file.
        words: name of the column of words.
        tags: name of the column of tags.
        where: the file or data set, for messages.
        first: number of the first row in it.

    Raises:
        DataError: a value is neither a list nor a string, a word is not a text, or a row has more or fewer tags than
            words.
    """
    texts = word_lists(columns[words], words, where, first)
    labels: list[tuple[object, ...]] = []
    for row, (sentence, tagged) in enumerate(zip(texts, columns[tags], strict=True), start=first):
        place = f"{where}, row {row}"
        marks = _items(tagged, tags, place, tags=True)
        if len(sentence) != len(marks):
            raise DataError(
                f"{len(sentence)} words and {len(marks)} tags",
                where=place,
                hint="Each word needs one tag; in tsv and csv, single spaces stand between words and between tags.",
            )
        labels.append(marks)
    return texts, labels


def word_lists(values: Sequence[object], column: str, where: str, first: int = 1) -> list[tuple[str, ...]]:
    """Return the words of every row, as `sentences` reads them.

    Raises:
        DataError: a value is neither a list nor a string, or a word is no text.
    """
    texts: list[tuple[str, ...]] = []
    for row, value in enumerate(values, start=first):
        place = f"{where}, row {row}"
        sentence = []
        for word in _items(value, column, place):
            if not isinstance(word, str):
                raise DataError(f'the column "{column}" holds {word!r}, which is no word', where=place)
            sentence.append(word)
        texts.append(tuple(sentence))
    return texts


def _items(value: object, column: str, where: str, *, tags: bool = False) -> tuple[object, ...]:
    if isinstance(value, str):
        return _split(value, column, where, tags=tags)
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(value)
    missing = is_missing(value)
    kind = "tags" if tags else "words"
    hint = "Fill it in, or remove the row." if missing else ""
    raise DataError(f'the column "{column}" holds {value!r}, which is no list of {kind}', where=where, hint=hint)


def _split(text: str, column: str, where: str, *, tags: bool) -> tuple[object, ...]:
    """Split a string into items.

    A list written as text begins with a bracket and a quote, which a sentence hardly does, and in tsv sometimes with
    one more quote, which that format does not have. A tag never begins with a bracket; tags may be numbers.
    """
    bare = text.strip()
    if bare == "[]":
        return ()
    opened = bare.startswith(("[", '"[') if tags else ("['", '["', "\"['", '"["'))
    items = list_of_text(bare) if opened and bare.endswith("]") else None
    if items is not None and (tags or all(isinstance(item, str) for item in items)):
        return tuple(items)
    if opened and bare.endswith(("]", ']"') if tags else ("']", '"]', ']"')):
        shown = bare if len(bare) < 60 else f"{bare[:60]}…"
        hint = "Write them with single spaces between, as JSON (json.dumps, no quotes around it in tsv), or in parquet."
        raise DataError(f'the column "{column}" holds {shown}, which reads like no list', where=where, hint=hint)
    return tuple(text.split(" ")) if text else ()


def list_of_text(text: str) -> list[object] | None:
    """Parse a text as a list, in JSON or as Python prints a list of strings; None if it is not a list."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if not _LIST_OF_STRINGS.fullmatch(text):
            return None
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return found if isinstance(found, list) else None
