"""Sentences for tagging: a column of words and a column of tags, one tag a word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdp.data.files import Columns
from sdp.errors import DataError

Sentences = tuple[list[tuple[str, ...]], list[tuple[object, ...]]]


def sentences(columns: Columns, words: str, tags: str, where: str, first: int = 1) -> Sentences:
    """The words and the tags of every row; a string is split at its spaces, one at each.

    Two spaces in a row hold an empty word between them, so that words and tags stay side by side.

    Args:
        columns: what was read.
        words: name of the column of words.
        tags: name of the column of tags.
        where: the file or data set, for messages.
        first: the number of the first row there.

    Raises:
        DataError: a value is neither a list nor a string, a word is no text, or a row has not as many tags as words.
    """
    texts: list[tuple[str, ...]] = []
    labels: list[tuple[object, ...]] = []
    for row, (said, tagged) in enumerate(zip(columns[words], columns[tags], strict=True), start=first):
        place = f"{where}, row {row}"
        sentence = []
        for word in _items(said, words, place):
            if not isinstance(word, str):
                raise DataError(f'the column "{words}" holds {word!r}, which is no word', where=place)
            sentence.append(word)
        marks = _items(tagged, tags, place)
        if len(sentence) != len(marks):
            raise DataError(
                f"{len(sentence)} words and {len(marks)} tags",
                where=place,
                hint="Each word needs one tag; in tsv and csv, single spaces stand between words and between tags.",
            )
        texts.append(tuple(sentence))
        labels.append(marks)
    return texts, labels


def _items(value: object, column: str, where: str) -> tuple[object, ...]:
    if isinstance(value, str):
        return tuple(value.split(" ")) if value else ()
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    if isinstance(value, Sequence):
        return tuple(value)
    raise DataError(f'the column "{column}" holds {value!r}, which is no list of words', where=where)
