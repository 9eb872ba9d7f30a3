"""The rows of a file that nothing is known of but its columns: read as the task's readers read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sdp.data.files import read_columns
from sdp.data.labels import class_ids, class_names, relevances, scores
from sdp.data.load import read_split
from sdp.data.row_keys import text_key
from sdp.data.rows import RawSplit
from sdp.data.source import resolve_source
from sdp.data.value_names import is_missing
from sdp.errors import DataError
from sdp.init.choose import problem_type
from sdp.recipe.benchmark_tasks import ProblemType
from sdp.recipe.sections import Recipe


@dataclass(frozen=True)
class LabelledRows:
    """The N rows of a file.

    Attributes:
        raw: texts, labels and groups.
        type: the kind of problem.
        why: it is that kind.
        classes: the class of each row, [N]; empty where a label is no class.
    """

    raw: RawSplit
    type: ProblemType
    why: str
    classes: tuple[str, ...]

    @cached_property
    def counts(self) -> Counter[str]:
        """Rows by class."""
        return Counter(self.classes)

    @cached_property
    def keys(self) -> list[bytes]:
        """Of each row's unit, [N]: its texts, or in a ranking its list."""
        if self.raw.groups:
            return [text_key((str(group),)) for group in self.raw.groups]
        tagging = self.type == "tagging"
        return [text_key((" ".join(texts),) if tagging else texts) for texts in self.raw.texts]


def read_labelled(
    data: Path, text: Sequence[str], label: str, group: str | None, kind: ProblemType | None
) -> LabelledRows:
    """Read a file's rows, and see that every label is one of the kind.

    Args:
        data: the file.
        text, label, group: its columns.
        kind: of the problem; None to go by the labels.

    Raises:
        DataError: a row cannot be read, has no label, or one that does not fit.
    """
    labels = read_columns(data, [label])[label]
    missing = [row for row, value in enumerate(labels, start=1) if is_missing(value) or not str(value).strip()]
    if missing:
        what = f'{len(missing):,} of {len(labels):,} rows have no label in "{label}"'
        raise DataError(what, where=f"{data}, row {missing[0]}", hint="Fill them in, or remove these rows.")
    why = "as asked for"
    if kind is None:
        kind, why = ("ranking", "it has lists") if group else problem_type(labels, column=label, where=str(data))
    columns = {"train": str(data), "dev": str(data), "text": tuple(text), "label": label, "group": group}
    recipe = Recipe.model_validate({"name": "x", "model": {"name": "x"}, "task": {"type": kind}, "data": columns})
    raw = read_split(recipe, resolve_source(recipe), "train")
    return LabelledRows(raw, kind, why, _classes(raw, kind))


def _classes(raw: RawSplit, kind: ProblemType) -> tuple[str, ...]:
    """The class of each row, checked; the labels of other kinds are checked alone."""
    if kind == "regression":
        if len(set(scores(raw).tolist())) < 2:
            raise DataError("every row has the same label", where=raw.where)
    elif kind == "ranking":
        relevances(raw)
    else:
        names = class_names(raw)
        ids = class_ids(raw, names)
        if kind == "classification":
            return tuple(names[index] for index in ids)
    return ()
