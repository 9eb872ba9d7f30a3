"""From a recipe to its splits, whatever the source."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from sdp.data.docstrings import read_docstrings
from sdp.data.files import read_columns
from sdp.data.hub import read_hub_columns
from sdp.data.identity import data_identity
from sdp.data.labels import class_ids, class_names, scores
from sdp.data.rows import SPLITS, RawSplit, Split, SplitName, TaskData
from sdp.data.source import LANGUAGE, Source, languages_of, resolve_source
from sdp.errors import DataError
from sdp.recipe.sections import Recipe


def load_task_data(recipe: Recipe) -> TaskData:
    """Load all splits of a recipe's task.

    The last result is kept while its inputs stay what they are: the stages of one run read the same data.

    Raises:
        DataError: a file or data set cannot be read or does not fit; the message names file and row.
    """
    return _load(recipe, tuple(data_identity(recipe).items()))


@lru_cache(maxsize=1)
def _load(recipe: Recipe, identity: tuple[tuple[str, str], ...]) -> TaskData:
    raw = _raw_splits(recipe)
    if recipe.task.problem_type == "regression":
        names: tuple[str, ...] = ()
        splits = {name: Split(name, s.texts, scores(s), s.languages) for name, s in raw.items()}
    else:
        names = class_names(raw["train"])
        if recipe.task.score == "f1" and len(names) != 2:
            raise DataError(
                f'metric "f1" is that of the second of two classes, and training has {len(names)} classes',
                where=raw["train"].where,
                hint='Use metric = "macro-f1", the mean over classes.',
            )
        splits = {name: Split(name, s.texts, class_ids(s, names), s.languages) for name, s in raw.items()}
    return TaskData(splits["train"], splits["dev"], splits.get("test"), names)


def _raw_splits(recipe: Recipe) -> dict[SplitName, RawSplit]:
    if recipe.data.docstrings is not None:
        return read_docstrings(recipe.data.docstrings, recipe.seed)
    source = resolve_source(recipe)
    return {name: _read_split(recipe, source, name) for name in SPLITS if name in source.splits}


def _read_split(recipe: Recipe, source: Source, name: SplitName) -> RawSplit:
    """Read a split, in every language that its names have a place for, one after the other."""
    place = source.splits[name]
    texts: list[tuple[str, ...]] = []
    labels: list[object] = []
    languages: list[str] = []
    files: list[str] = []
    for language in languages_of(recipe, name, place, source.config):
        here = place.replace(LANGUAGE, language)
        wanted = (*source.text, source.label)
        if source.dataset is None:
            where, columns = here, read_columns(Path(here), wanted)
        else:
            config = source.config.replace(LANGUAGE, language) if source.config else None
            where = f"{source.dataset}, {config or 'default'}, {here}"
            columns = read_hub_columns(source.dataset, config, here, source.revision, wanted)
        texts += _texts([columns[column] for column in source.text], source.text, where)
        labels += columns[source.label]
        languages += [language] * len(columns[source.label])
        files.append(where)
    return RawSplit(name, files[0] if len(files) == 1 else f"{place}", tuple(texts), tuple(labels), tuple(languages))


def _texts(columns: Sequence[Sequence[object]], names: Sequence[str], where: str) -> list[tuple[str, ...]]:
    for name, column in zip(names, columns, strict=True):
        for row, value in enumerate(column, start=1):
            if not isinstance(value, str):
                what = "no text" if value is None else f"{value!r}, which is no text"
                raise DataError(f'the column "{name}" holds {what}', where=f"{where}, row {row}")
    return [tuple(str(value) for value in row) for row in zip(*columns, strict=True)]
