"""Load the splits of a recipe from any source."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from sdp.data.answers import answer_lists
from sdp.data.docstrings import read_docstrings
from sdp.data.files import Columns, column_chunks
from sdp.data.hub import hub_chunks
from sdp.data.identity import data_identity
from sdp.data.label_lists import label_lists
from sdp.data.labels import class_ids, class_names, group_numbers, label_set_names, label_sets, relevances, scores
from sdp.data.rows import SPLITS, Answers, RawSplit, Split, SplitName, TaskData
from sdp.data.rows_on_disk import TextFile
from sdp.data.source import Part, Source, part_kind, parts_of, resolve_source
from sdp.data.value_names import is_missing
from sdp.data.words import sentences
from sdp.errors import DataError
from sdp.recipe.sections import Recipe

# Seed of the draw of data.train_rows: fixed, so that runs with different seeds use the same rows.
DRAW_SEED = 2022
_NO_LABEL = 0.0
ENTITY_TAGS = ("B-", "I-", "E-", "S-")


def load_task_data(recipe: Recipe) -> TaskData:
    """Load all splits of a recipe's task.

    The last results are cached until their inputs change: the stages of one run read the same data, and the stages of
    the preflight a few rows of it.

    Raises:
        DataError: a file or data set cannot be read or does not fit; the message names file and row.
    """
    return _load(recipe, tuple(data_identity(recipe).items()))


@lru_cache(maxsize=2)
def _load(recipe: Recipe, identity: tuple[tuple[str, str], ...]) -> TaskData:
    raw = _raw_splits(recipe)
    raw["train"] = draw_rows(raw["train"], recipe.data.train_rows)
    names: tuple[str, ...] = ()
    if recipe.task.problem_type == "question-answering":
        optional = not all(raw["train"].labels)
        splits = {name: _questions(split, optional=optional) for name, split in raw.items()}
    elif recipe.task.has_no_classes:
        splits = {name: _numbers(split, recipe) for name, split in raw.items()}
    elif recipe.task.problem_type == "multi-label":
        names = label_set_names(raw["train"])
        splits = {name: Split(name, split.texts, label_sets(split, names), split.parts) for name, split in raw.items()}
    else:
        names = _class_names(recipe, raw["train"])
        splits = {name: _classes(split, names, recipe) for name, split in raw.items()}
    data = TaskData(splits["train"], splits["dev"], splits.get("test"), names)
    if recipe.data.docstrings is not None:
        return data
    source = resolve_source(recipe)
    kind = part_kind(recipe, source.config, source.splits["dev"], source.splits.get("test"))
    if kind is None:
        return data
    language = kind == "language"
    evaluated = recipe.task.languages if language else recipe.task.subset_names
    choices = recipe.task.train_languages if language else recipe.task.subset_names[:1]
    return TaskData(data.train, data.dev, data.test, names, choices, evaluated, kind)


def draw_rows(split: RawSplit, most: int | None) -> RawSplit:
    """Draw at most `most` rows of a split, in the split's order.

    The draw depends on the number of rows alone, and a smaller draw is part of a larger one.
    """
    if most is None or most >= len(split.texts):
        return split
    order = np.random.default_rng(DRAW_SEED).permutation(len(split.texts))
    return split.take(sorted(order[:most].tolist()))


def _class_names(recipe: Recipe, train: RawSplit) -> tuple[str, ...]:
    task = recipe.task.known
    names = task.labels if task is not None else class_names(train)
    if recipe.task.score == "f1" and len(names) != 2:
        raise DataError(
            f'metric "f1" needs two classes, and training has {len(names)}',
            where=train.where,
            hint='Use metric = "macro-f1", the mean over classes.',
        )
    odd = [name for name in names if name != "O" and not name.startswith(ENTITY_TAGS)]
    if recipe.task.score == "entity-f1" and odd:
        raise DataError(
            f'metric "entity-f1" needs tags such as B-PER, I-PER and O, and "{odd[0]}" is none',
            where=train.where,
            hint='Use metric = "accuracy", the share of words whose tag is right.',
        )
    return names


def _classes(split: RawSplit, names: tuple[str, ...], recipe: Recipe) -> Split:
    ids = class_ids(split, names, fixed=recipe.task.known is not None)
    tags = names if recipe.task.problem_type == "tagging" else None
    return Split(split.name, split.texts, ids, split.parts, tags=tags)


def _numbers(split: RawSplit, recipe: Recipe) -> Split:
    grades = recipe.task.known.labels if recipe.task.known is not None else ()
    if recipe.task.problem_type != "ranking":
        return Split(split.name, split.texts, scores(split, grades), split.parts)
    # Training uses single rows; only scored splits need lists with different relevances.
    values = scores(split, grades) if split.name == "train" else relevances(split, grades)
    return Split(split.name, split.texts, values, split.parts, group_numbers(split))


def _questions(split: RawSplit, *, optional: bool) -> Split:
    rows = [row if isinstance(row, tuple) else () for row in split.labels]
    of_rows, starts = (tuple(tuple(answer[side] for answer in row) for row in rows) for side in (0, 1))
    best = np.ones(len(rows), np.float32)
    return Split(split.name, split.texts, best, split.parts, answers=Answers(of_rows, starts, optional))


def _raw_splits(recipe: Recipe) -> dict[SplitName, RawSplit]:
    if recipe.data.docstrings is not None:
        return read_docstrings(recipe.data.docstrings, recipe.seed)
    source = resolve_source(recipe)
    return {name: read_split(recipe, source, name) for name in SPLITS if name in source.splits}


def read_split(recipe: Recipe, source: Source, name: SplitName, parts: Sequence[Part] | None = None) -> RawSplit:
    """Read a split, part by part, with its texts on disk.

    Args:
        recipe: the recipe.
        source: its data.
        name: the split.
        parts: the parts to read; None for all that are trained on or evaluated.

    Raises:
        DataError: a file or data set cannot be read, or a value is not a text.
    """
    place = source.splits[name]
    texts = TextFile()
    labels: list[object] = []
    names: list[str] = []
    groups: list[object] = []
    files: list[tuple[str, int]] = []
    for part in parts_of(recipe, name, place, source.config) if parts is None else parts:
        where, chunks = _part_chunks(source, place, part, source.columns_of(name))
        files.append((where, len(labels)))
        first = 1
        for columns in chunks:
            count = len(columns[source.text[0]])
            if recipe.task.problem_type == "tagging":
                words, tags = sentences(columns, source.text[0], source.label[0], where, first)
                texts.add(words)
                labels += [tuple(map(_once, marks)) for marks in tags]
            else:
                texts.add(text_rows([columns[column] for column in source.text], source.text, where, first))
                if recipe.task.problem_type == "multi-label":
                    of_rows = label_lists(columns, source.label, where, first)
                    labels += [tuple(map(_once, names)) for names in of_rows]
                elif recipe.task.problem_type == "question-answering":
                    contexts = columns[source.text[1]]
                    labels += answer_lists(columns[source.label[0]], contexts, source.label[0], where, first)
                elif name == "train" and source.texts_alone:
                    labels += [_NO_LABEL] * count
                else:
                    labels += map(_once, columns[source.label[0]])
            if source.group:
                groups += map(_once, columns[source.group])
            names += [part.name] * count
            first += count
    where = files[0][0] if len(files) == 1 else place
    return RawSplit(name, where, texts.close(), tuple(labels), tuple(names), tuple(groups), tuple(files))


def _once(label: object) -> object:
    """Return the label, with one object for equal strings: a file repeats them."""
    return sys.intern(label) if type(label) is str else label


def _part_chunks(source: Source, place: str, part: Part, columns: tuple[str, ...]) -> tuple[str, Iterator[Columns]]:
    """Return the place of one part of a split, and some of its columns in chunks of rows."""
    here = part.fill(place)
    if source.dataset is None:
        return here, column_chunks(Path(here), columns)
    config = part.fill(source.config) if source.config else None
    where = f"{source.dataset}, {config or 'default'}, {here}"
    return where, hub_chunks(source.dataset, config, here, source.revision, columns)


def text_rows(
    columns: Sequence[Sequence[object]], names: Sequence[str], where: str, first: int
) -> list[tuple[str, ...]]:
    """Return rows of texts from columns of values.

    Args:
        columns: the values, one sequence a column.
        names: the names of the columns.
        where: the file or data set, for messages.
        first: number of the first row in it.

    Raises:
        DataError: a value is not a text.
    """
    for name, column in zip(names, columns, strict=True):
        for row, value in enumerate(column, start=first):
            if not isinstance(value, str):
                missing = is_missing(value)
                what = "no text" if missing else f"{value!r}, which is no text"
                hint = "Fill it in, or remove the row." if missing else "Write the column as strings."
                raise DataError(f'the column "{name}" holds {what}', where=f"{where}, row {row}", hint=hint)
    return [tuple(str(value) for value in row) for row in zip(*columns, strict=True)]
