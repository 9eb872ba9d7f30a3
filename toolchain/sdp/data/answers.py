"""The answers to questions in the form of SQuAD: {"text": [...], "answer_start": [...]} for each question."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sdp.errors import DataError

Answer = tuple[str, int]
"""An answer as it stands in the context, and its first character there."""
TEXT, START = "text", "answer_start"
_FORM = '{"text": ["Paris"], "answer_start": [17]}'
_SHOWN = 60


def holds_answers(value: object) -> bool:
    """Whether a value has the form of a question's answers, as a mapping or as a text in JSON."""
    record = _parsed(value) if isinstance(value, str) else value
    return isinstance(record, Mapping) and TEXT in record and START in record


def as_record(answers: Sequence[Answer]) -> dict[str, list[Any]]:
    """Return the form of SQuAD of a question's answers, as files hold it."""
    return {TEXT: [text for text, _ in answers], START: [start for _, start in answers]}


def answer_lists(
    values: Sequence[object], contexts: Sequence[str], column: str, where: str, first: int = 1
) -> list[tuple[Answer, ...]]:
    """Return the answers to each question; none where it has no answer.

    Args:
        values: of the column of answers: mappings of two lists, or the same as a text in JSON.
        contexts: the contexts that the answers are parts of.
        column: the name of the column, for messages.
        where: the file or data set, for messages.
        first: number of the first row in it.

    Raises:
        DataError: a value has another form, or an answer does not stand where it should.
    """
    found = []
    for row, (value, context) in enumerate(zip(values, contexts, strict=True), start=first):
        place = f"{where}, row {row}"
        answers = _answers(value, column, place)
        for text, start in answers:
            if start < 0 or context[start : start + len(text)] != text or not text.strip():
                raise _elsewhere(text, start, context, place)
        found.append(answers)
    return found


def _answers(value: object, column: str, where: str) -> tuple[Answer, ...]:
    record: Any = _parsed(value) if isinstance(value, str) else value
    if isinstance(record, Mapping) and TEXT in record and START in record:
        texts, starts = (_listed(record[key]) for key in (TEXT, START))
        if len(texts) == len(starts) and all(isinstance(text, str) for text in texts):
            whole = [int(start) for start in starts if isinstance(start, int | float) and float(start).is_integer()]
            if len(whole) == len(texts):
                return tuple(zip(texts, whole, strict=True))
    shown = str(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    hint = f"Each row has the form of SQuAD: {_FORM}, and empty lists where the context has no answer."
    raise DataError(f'the column "{column}" holds {shown}, which are no answers', where=where, hint=hint)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _listed(value: Any) -> list[Any]:
    """A list, or what an array holds; one value alone is a list of it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else [value]


def _elsewhere(text: str, start: int, context: str, where: str) -> DataError:
    """The error for an answer that is not at its place."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    what = f'the answer "{shown}" does not stand at character {start} of its context'
    at = context.find(text) if text.strip() else -1
    hint = f"There it stands at {at}: answer_start counts characters from 0, not bytes." if at >= 0 else ""
    return DataError(what, where=where, hint=hint or "An answer is a part of its context, letter by letter.")
