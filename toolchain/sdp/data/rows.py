"""Splits of texts with labels, the form that every data source is read into."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows_on_disk import Apart, Chosen, Texts
from sdp.errors import DataError

SplitName = Literal["train", "dev", "test"]
IGNORED = -100
"""The label of a token that is not scored; torch's cross-entropy ignores it."""
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class RawSplit:
    """The rows of one split as their source has them.

    Attributes:
        name: train, dev or test.
        where: the file or data set, for messages.
        texts: a row's texts, one a column; its words for tagging.
        labels: one value a row: a string, an integer or a number; a tuple of tags, one a word, for tagging; a tuple of
            labels for multi-label; a tuple of answers, each with its first character, for question answering.
        parts: the language or subset that a row is from, one a row; "" where the data has none.
        groups: the list that a row belongs to, one a row, for ranking; empty otherwise.
        files: the sources in order: name of the file or data set, and the number of rows before its first row; empty
            where there is one source, `where`.
        drawn: the numbers of the rows among all rows of the sources, int64 [N]; None where all rows are used.
    """

    name: SplitName
    where: str
    texts: Sequence[Texts]
    labels: tuple[object, ...]
    parts: tuple[str, ...]
    groups: tuple[object, ...] = ()
    files: tuple[tuple[str, int], ...] = ()
    drawn: NDArray[np.int64] | None = None

    def place_of(self, row: int) -> str:
        """Return the file or data set of a row, and its number in it, from 1."""
        number = row if self.drawn is None else int(self.drawn[row])
        file, first = self.where, 0
        if self.files:
            file, first = self.files[bisect_right(self.files, number, key=lambda entry: entry[1]) - 1]
        return f"{file}, row {number - first + 1}"

    def take(self, rows: list[int]) -> RawSplit:
        """Return the rows with these numbers, in this order."""
        numbers = np.array(rows, dtype=np.int64)
        return replace(
            self,
            texts=Chosen(self.texts, numbers),
            labels=tuple(self.labels[row] for row in rows),
            parts=tuple(self.parts[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows) if self.groups else (),
            drawn=numbers if self.drawn is None else self.drawn[numbers],
        )


@dataclass(frozen=True)
class Answers:
    """The right answers to the N questions of a split.

    Attributes:
        of_rows: for each question its answers as they stand in the context; none where it has no answer there.
        starts: for each question the first character of each answer.
        optional: whether a question may have no answer: whether one of training has none.
    """

    of_rows: Sequence[tuple[str, ...]]
    starts: Sequence[tuple[int, ...]]
    optional: bool

    def row(self, number: int) -> tuple[list[str], list[int]]:
        """The answers to a question and their first characters."""
        return list(self.of_rows[number]), list(self.starts[number])

    def where(self, rows: NDArray[np.int64]) -> Answers:
        """The answers to the questions with these numbers."""
        return Answers(Chosen(self.of_rows, rows), Chosen(self.starts, rows), self.optional)


@dataclass(frozen=True)
class Split:
    """The N rows of one split, ready for a model.

    Attributes:
        name: train, dev or test.
        texts: a row's texts, one a column; its words for tagging.
        labels: class ids, int64 [N]; scores or relevances, float32 [N]; for tagging the tag ids of all W words, row
            after row, int64 [W]; for multi-label which of C labels a row has, 1 or 0, float32 [N, C]; for question
            answering the score of a right answer, 1.
        parts: the language or subset that a row is from, one a row; "" where the data has none.
        groups: number of the list that a row belongs to, int64 [N], for ranking; None otherwise.
        tags: names of the tags by id, for tagging; None otherwise.
        own_ids: the data's own id of each class, where the ids are those of a checkpoint's head; None otherwise.
        answers: for question answering; None otherwise.
    """

    name: SplitName
    texts: Sequence[Texts]
    labels: NDArray[np.int64] | NDArray[np.float32]
    parts: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    tags: tuple[str, ...] | None = None
    own_ids: tuple[int, ...] | None = None
    answers: Answers | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def apart(self) -> Split:
        """Each text as a row of its own, those of a row behind each other, with its label; for embeddings."""
        columns = len(self.texts[0]) if len(self.texts) else 1
        parts = tuple(part for part in self.parts for _ in range(columns))
        labels = np.asarray(np.repeat(self.labels, columns), np.float32)
        return replace(self, texts=Apart(self.texts, columns), labels=labels, parts=parts)

    @property
    def multi_label(self) -> bool:
        """Whether a row has any number of labels."""
        return self.labels.ndim == 2

    @property
    def positive(self) -> int:
        """The id of the positive class of f1: the second of two in the data's own order."""
        return 1 if self.own_ids is None else self.own_ids.index(1)

    def with_ids(self, ids: Sequence[int]) -> Split:
        """The same rows of classes with other ids: class k gets ids[k]."""
        # Inverts ids: label k becomes the index at which k stands in them.
        before = tuple(int(place) for place in np.argsort(ids, kind="stable"))
        tags = None if self.tags is None else tuple(self.tags[place] for place in before)
        own = before if self.own_ids is None else tuple(self.own_ids[place] for place in before)
        labels = self.labels[:, list(before)] if self.multi_label else np.asarray(ids, dtype=np.int64)[self.labels]
        return replace(self, labels=labels, tags=tags, own_ids=own)

    @cached_property
    def sentence_of_word(self) -> NDArray[np.int64]:
        """For tagging: the row of each word, [W]; otherwise the numbers of the rows, [N]."""
        if self.tags is None:
            return np.arange(len(self))
        return np.repeat(np.arange(len(self)), [len(words) for words in self.texts])

    def labels_of(self, row: int) -> NDArray[np.int64]:
        """For tagging: the tag ids of a sentence, one a word."""
        start, end = np.searchsorted(self.sentence_of_word, [row, row + 1])
        return np.asarray(self.labels[start:end], dtype=np.int64)

    def predictions_in(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask of the labels (and predictions), [N] or [W], that belong to chosen rows, [N]."""
        return np.asarray(rows[self.sentence_of_word])

    def where(self, rows: NDArray[np.bool_]) -> Split:
        """The chosen rows, [N]."""
        chosen = np.flatnonzero(rows)
        return Split(
            self.name,
            Chosen(self.texts, chosen),
            self.labels[self.predictions_in(rows)],
            tuple(self.parts[row] for row in chosen),
            None if self.groups is None else self.groups[rows],
            self.tags,
            self.own_ids,
            None if self.answers is None else self.answers.where(chosen),
        )

    def only(self, parts: tuple[str, ...]) -> Split:
        """Return the rows of some parts and the rows without a part; the split itself if these are all rows."""
        wanted = np.array([part in ("", *parts) for part in self.parts], dtype=bool)
        return self if wanted.all() else self.where(wanted)


@dataclass(frozen=True)
class TaskData:
    """All splits of a task.

    Attributes:
        train: the rows to train on.
        dev: the rows for choices; training uses those of the parts `choices` alone.
        test: used by the evaluate stage only; None without a test split.
        label_names: classes, labels or tags in the order of their ids; empty for regression and ranking.
        choices: the parts of dev that choices are made on: the training languages, the first subset.
        evaluated: the parts that are evaluated, as the recipe orders them; empty where the data has none.
        part: the kind of the parts; None where the data has none.
    """

    train: Split
    dev: Split
    test: Split | None
    label_names: tuple[str, ...]
    choices: tuple[str, ...] = ()
    evaluated: tuple[str, ...] = ()
    part: Literal["language", "subset"] | None = None

    def in_order(self, names: Sequence[str]) -> TaskData:
        """Return the data with its classes in the order of a checkpoint's head.

        Args:
            names: all of `label_names`.
        """
        if tuple(names) == self.label_names:
            return self
        ids = [list(names).index(name) for name in self.label_names]
        test = None if self.test is None else self.test.with_ids(ids)
        train, dev = self.train.with_ids(ids), self.dev.with_ids(ids)
        return replace(self, train=train, dev=dev, test=test, label_names=tuple(names))

    @property
    def own_label_names(self) -> tuple[str, ...]:
        """The classes in the data's own order, also where `label_names` has that of a checkpoint's head."""
        own = self.train.own_ids
        return (
            self.label_names
            if own is None
            else tuple(self.label_names[place] for place in np.argsort(own, kind="stable"))
        )

    @property
    def development(self) -> Split:
        """Return the dev rows that training may use."""
        return self.dev.only(self.choices)

    def evaluation(self, split: Literal["test", "dev"] | None) -> Split:
        """Return the split to evaluate on: the named split, or test where it exists and dev otherwise.

        Raises:
            DataError: test was named and there is none.
        """
        if split == "test" and self.test is None:
            hint = 'Set it to "dev", or add data.test.'
            raise DataError("the data has no test split", where="evaluate.split", hint=hint)
        return (self.dev if split == "dev" or self.test is None else self.test).only(self.evaluated)
