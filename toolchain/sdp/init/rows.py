"""Check the columns of a file of labelled rows, and read its rows with the task's readers."""

from __future__ import annotations

import difflib
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from sdp.data.answers import holds_answers
from sdp.data.files import Columns, column_chunks, column_names, read_columns
from sdp.data.labels import class_ids, class_names, label_set_names, label_sets, relevances, scores
from sdp.data.load import read_split
from sdp.data.profile import text_key
from sdp.data.rows import RawSplit
from sdp.data.source import resolve_source
from sdp.data.value_names import is_missing
from sdp.data.words import list_of_text
from sdp.errors import DataError, UsageError
from sdp.recipe.benchmark_tasks import ProblemType
from sdp.recipe.sections import Recipe

# More distinct labels than this share of the rows are not classes.
_MOST_CLASSES = 0.5
_EXAMPLES = 3
_WIDTH = 60


def check_columns(data: Path, text: Sequence[str], label: str | None, group: str | None) -> None:
    """Check that the columns are named, and that the file has them.

    Raises:
        UsageError: the text or the label column is not named; the message lists the columns with examples.
        DataError: the file cannot be read, or lacks a column.
    """
    names = column_names(data)
    if not text or label is None:
        raise _which_columns(data, names)
    for option, name in (*(("--text", name) for name in text), ("--label", label), ("--group", group)):
        if name is not None and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f'Did you mean {option} "{near[0]}"?' if near else f"Name one of them with {option}."
            raise DataError(f'no column "{name}"; the columns are {", ".join(names)}', where=str(data), hint=meant)
    given = [*text, label, *((group,) if group else ())]
    if len(set(given)) < len(given):
        raise UsageError(f"a column is named twice: {', '.join(given)}", where=str(data))


def _which_columns(data: Path, names: Sequence[str]) -> UsageError:
    """Return the error that asks for the columns, with examples of their values."""
    rows = next(iter(column_chunks(data, names)))
    lines = [f"{name}: {', '.join(_short(value) for value in rows[name][:_EXAMPLES])}" for name in names]
    listed = "\n".join(f"    {line}" for line in lines)
    texts, label = _likely(rows, names)
    command = shlex.join([str(data), *(word for text in texts for word in ("--text", text)), "--label", label])
    what = f"which column is the text, and which the label? The columns:\n{listed}"
    return UsageError(what, where=str(data), hint=f"Name them, for example: sdp init {command}")


def _likely(rows: Columns, names: Sequence[str]) -> tuple[list[str], str]:
    """Guess texts and label: the column with the longest values, and the one with the fewest values from two on.

    Where a column holds answers to questions it is the label, and the two with the longest values are the texts.
    """
    longest = sorted(names, key=lambda name: -sum(len(str(value)) for value in rows[name]))
    answers = [name for name in names if holds_answers(rows[name][0])]
    texts = [name for name in longest if name not in answers]
    if answers and len(texts) > 1:
        return [texts[1], texts[0]], answers[0]
    different = {name: len({str(value) for value in rows[name]}) for name in names}
    others = [name for name in names if name != longest[0]] or [longest[0]]
    return [longest[0]], min(others, key=lambda name: (different[name] < 2, different[name]))


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 3]}..."


@dataclass(frozen=True)
class LabelledRows:
    """The N rows of a file.

    Attributes:
        raw: texts, labels and groups.
        type: the problem type.
        why: the reason for the type.
        classes: the class of each row, [N]; empty where labels are not classes.
    """

    raw: RawSplit
    type: ProblemType
    why: str
    classes: tuple[str, ...]

    @cached_property
    def counts(self) -> Counter[str]:
        """Count rows by class."""
        return Counter(self.classes)

    @cached_property
    def keys(self) -> list[bytes]:
        """Return the key of each row's unit, [N]: its texts, in a ranking its list, of a question its context."""
        if self.raw.groups:
            return [text_key((str(group),)) for group in self.raw.groups]
        if self.type == "question-answering":
            return [text_key(texts[1:]) for texts in self.raw.texts]
        tagging = self.type == "tagging"
        return [text_key((" ".join(texts),) if tagging else texts) for texts in self.raw.texts]


def read_labelled(
    data: Path, text: Sequence[str], label: str, group: str | None, kind: ProblemType | None
) -> LabelledRows:
    """Read a file's rows, and check that every label fits the problem type.

    Args:
        data: the file.
        text, label, group: its columns.
        kind: the problem type; None to derive it from the labels.

    Raises:
        DataError: a row cannot be read, or its label is missing or does not fit.
    """
    labels = read_columns(data, [label])[label]
    missing = [row for row, value in enumerate(labels, start=1) if is_missing(value) or not str(value).strip()]
    # A row of a multi-label task may have no label.
    if missing and kind != "multi-label":
        what = f'{len(missing):,} of {len(labels):,} rows have no label in "{label}"'
        raise DataError(what, where=f"{data}, row {missing[0]}", hint="Fill them in, or remove these rows.")
    why = "as asked for"
    if kind is None:
        kind, why = ("ranking", "it has lists") if group else problem_type(labels, column=label, where=str(data))
    columns = {"train": str(data), "dev": str(data), "text": tuple(text), "label": label, "group": group}
    # An embedding reads no scores for training, and here rows of all splits are read.
    read = "regression" if kind == "embedding" else kind
    try:
        recipe = Recipe.model_validate({"name": "x", "model": {"name": "x"}, "task": {"type": read}, "data": columns})
    except ValidationError as error:
        raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, "), where=str(data)) from None
    raw = read_split(recipe, resolve_source(recipe), "train")
    return LabelledRows(raw, kind, why, _classes(raw, kind))


def _classes(raw: RawSplit, kind: ProblemType) -> tuple[str, ...]:
    """Return the class of each row; for other problem types only check the labels."""
    if kind in ("regression", "embedding"):
        if len(set(scores(raw).tolist())) < 2:
            raise DataError("every row has the same label", where=raw.where)
    elif kind == "ranking":
        relevances(raw)
    elif kind == "multi-label":
        label_sets(raw, label_set_names(raw))
    elif kind != "question-answering":
        names = class_names(raw)
        ids = class_ids(raw, names)
        if kind == "classification":
            return tuple(names[index] for index in ids)
    return ()


def problem_type(labels: Sequence[object], *, column: str, where: str) -> tuple[ProblemType, str]:
    """Derive the problem type from the labels, with the reason.

    Args:
        labels: one a row, none missing.
        column: the label column, for messages.
        where: the file, for messages.

    Raises:
        DataError: nearly every row has a different label.
    """
    if holds_answers(labels[0]):
        return "question-answering", "the labels are answers with their places"
    if isinstance(labels[0], list | tuple) or (isinstance(labels[0], str) and list_of_text(labels[0]) is not None):
        return "tagging", "the labels are lists"
    numbers = [_number(label) for label in labels]
    if None not in numbers and any(number is not None and number % 1 for number in numbers):
        return "regression", "the labels are numbers with fractions"
    distinct = len({str(label) for label in labels})
    if distinct > max(2, _MOST_CLASSES * len(labels)):
        what = f'the column "{column}" has {distinct:,} different values in {len(labels):,} rows: too many for classes'
        hint = "Name another column with --label, or for numbers to be predicted add --type regression."
        raise DataError(what, where=where, hint=hint)
    of_numbers = "; for numbers to be predicted, give --type regression" if None not in numbers and distinct > 2 else ""
    return "classification", f"the labels have {distinct} different values{of_numbers}"


def _number(label: object) -> float | None:
    try:
        value = float(str(label))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
