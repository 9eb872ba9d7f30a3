"""The task's own texts as a corpus: all train and dev rows of every language that the recipe trains on or evaluates.

Training may read one language's file where the names hold "{language}"; a vocabulary has to fit all that is evaluated,
so the train files of the others are read as well, where there are any. Test rows are never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from sdp.data.load import read_split
from sdp.data.rows import RawSplit, Split, TaskData
from sdp.data.source import LANGUAGE, Part, Source, part_kind, resolve_source
from sdp.errors import DataError
from sdp.recipe.sections import Recipe
from sdp.recipe.vocabulary import VocabularySection

# A data set may have a language to be tested on alone: what sdp's own reader of folders says of it, and `datasets`.
_NO_SPLIT = re.compile("no such split|[Uu]nknown split")


def corpus_rows(recipe: Recipe, data: TaskData) -> tuple[Split | RawSplit, Split]:
    """All train and dev rows: training may draw some of them, and the texts of the others are as good.

    Args:
        recipe: the recipe.
        data: its data as it is trained on.
    """
    if recipe.data.train_rows is None:
        return data.train, data.dev
    return read_split(recipe, resolve_source(recipe), "train"), data.dev


def row_texts(
    recipe: Recipe, section: VocabularySection, rows: Iterable[Split | RawSplit]
) -> Iterator[tuple[str, Iterator[str]]]:
    """The texts of the task's rows, a language at a time; a language may come several times.

    Args:
        recipe: the recipe.
        section: its [vocabulary], which may name the languages that count.
        rows: train and dev, as they are trained and evaluated on.

    Raises:
        DataError: languages are named that the data's names have no place for, or of which there are no rows.
    """
    source = resolve_source(recipe) if recipe.data.docstrings is None else None
    names = (source.config, *source.splits.values()) if source is not None else ()
    by_language = part_kind(recipe, *names) == "language"
    wanted = section.languages
    if wanted is not None and not by_language:
        raise no_place_for_languages("data")
    tagging = recipe.task.problem_type == "tagging"
    found: dict[str, None] = {}
    for split in chain(rows, _more_train(recipe, source, wanted)):
        for language in dict.fromkeys(split.parts):
            if not by_language:
                yield "", _texts(split, None, tagging=tagging)
                break
            found[language] = None
            if wanted is None or language in wanted:
                yield language, _texts(split, language, tagging=tagging)
    if missing := [language for language in wanted or () if language not in found]:
        what = f"the task's train and dev rows have none in {', '.join(missing)}, only in {', '.join(found)}"
        raise DataError(what, where="vocabulary.languages", hint="Name files of text with vocabulary.corpus.")


def more_train_files(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Each train file of a language that is evaluated and not trained on, where it is there; none of a data set."""
    source = resolve_source(recipe) if recipe.data.docstrings is None else None
    if source is not None and source.dataset is None:
        for part in _more_parts(recipe, source):
            file = Path(part.fill(source.splits["train"]))
            if file.is_file():
                yield part.name, file


def no_place_for_languages(where: str) -> DataError:
    """The error for languages that are named where no file name holds one."""
    what = 'languages are named, and no name holds "{language}"'
    return DataError(what, where=where, hint="Remove vocabulary.languages, or put the placeholder into the names.")


def _more_train(recipe: Recipe, source: Source | None, wanted: tuple[str, ...] | None) -> Iterator[RawSplit]:
    """The train rows of languages that are evaluated and not trained on, where there are any."""
    if source is None:
        return
    here = dict(more_train_files(recipe)) if source.dataset is None else None
    for part in _more_parts(recipe, source):
        if (wanted is None or part.name in wanted) and (here is None or part.name in here):
            try:
                yield read_split(recipe, source, "train", (part,))
            except DataError as error:
                if here is not None or not _NO_SPLIT.search(error.what):
                    raise


def _more_parts(recipe: Recipe, source: Source) -> Iterator[Part]:
    if LANGUAGE in f"{source.config or ''}{source.splits['train']}":
        others = (name for name in recipe.task.languages if name not in recipe.task.train_languages)
        yield from (Part(LANGUAGE, name) for name in others)


def _texts(split: Split | RawSplit, language: str | None, *, tagging: bool) -> Iterator[str]:
    """The texts of a split's rows, or of those in one language."""
    for part, row in zip(split.parts, split.texts, strict=True):
        if language is None or part == language:
            # The words of a sentence that is tagged; the texts of a pair, each by itself.
            yield from (" ".join(row),) if tagging else row
