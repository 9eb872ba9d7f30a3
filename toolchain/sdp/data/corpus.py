"""The texts that decide which pieces a vocabulary keeps: files of [vocabulary], or the task's train and dev rows."""

from __future__ import annotations

import glob
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from sdp.data.files import read_columns, read_lines
from sdp.data.load import read_split
from sdp.data.rows import RawSplit, Split, TaskData
from sdp.data.source import LANGUAGE, Part, Source, part_kind, resolve_source
from sdp.errors import DataError
from sdp.recipe.sections import Recipe
from sdp.recipe.vocabulary import VocabularySection

Texts = dict[str, list[str]]
TEXT_SUFFIX = ".txt"
MOST_ROW_TEXTS = 200_000
"""Most texts of a language, where the task's own rows are the corpus."""
FEW_TEXTS = 1000
"""A language with fewer texts gets a warning."""


@dataclass(frozen=True)
class Corpus:
    """Texts by language ("" where the corpus has none).

    Attributes:
        counted: texts that choose the pieces.
        held_out: texts that evaluate the choice.
    """

    counted: Texts
    held_out: Texts

    @property
    def counts(self) -> dict[str, int]:
        """Count the texts of each language, counted and held out."""
        return {language: len(texts) + len(self.held_out[language]) for language, texts in self.counted.items()}


def corpus_identity(recipe: Recipe) -> dict[str, str]:
    """Hash every file of the corpus (SHA-256), by language and name. Files that the task reads are not among them.

    Raises:
        DataError: a file is missing.
    """
    identity: dict[str, str] = {}
    for language, path in _files(recipe):
        name = f"{language}: {path.name}" if language else path.name
        with path.open("rb") as stream:
            # Files of one name in several folders are numbered in order.
            identity[name if name not in identity else f"{name} ({len(identity)})"] = hashlib.file_digest(
                stream, "sha256"
            ).hexdigest()
    return identity


def read_corpus(recipe: Recipe, section: VocabularySection, rows: Iterable[Split | RawSplit]) -> Corpus:
    """Read the corpus and hold out a share of it.

    Args:
        recipe: the recipe.
        section: its [vocabulary].
        rows: the task's splits, train and dev; used where the section names no files.

    Raises:
        DataError: a file cannot be read, a language has no rows, or there are too few texts to hold some out.
    """
    texts: Texts = {}
    for language, found in _texts(recipe, section, rows):
        own = texts.setdefault(language, [])
        # The task may have millions of rows; files named for this purpose count in full.
        own.extend(found if section.corpus is not None else islice(found, max(0, MOST_ROW_TEXTS - len(own))))
    corpus = split_texts(texts, section.held_out)
    if not any(corpus.counted.values()) or not any(corpus.held_out.values()):
        count = sum(map(len, texts.values()))
        what = f"the corpus has {count} texts, too few to count some and hold {section.held_out:.0%} out"
        raise DataError(what, where="vocabulary.corpus", hint="Give more text, or set vocabulary.held_out.")
    return corpus


def count_texts(recipe: Recipe, section: VocabularySection, rows: Iterable[Split | RawSplit]) -> dict[str, int]:
    """Count the texts of each language as `read_corpus` reads them, without keeping them in memory.

    Raises:
        DataError: as `read_corpus`, except for too few texts.
    """
    counts: dict[str, int] = {}
    for language, found in _texts(recipe, section, rows):
        counts[language] = counts.get(language, 0) + sum(1 for _ in found)
    return counts


def few_texts_lines(counts: Mapping[str, int]) -> list[str]:
    """Return a warning for each language with so few texts that many of its words are missing.

    Args:
        counts: texts by language; the language is "" where the corpus has no languages.
    """
    few = {language: count for language, count in counts.items() if count < FEW_TEXTS}
    return [
        f"{language or 'the corpus'} has {count:,} text{'s' * (count != 1)}, fewer than {FEW_TEXTS:,}: pieces of words "
        "that are not in them may go"
        for language, count in few.items()
    ]


def _texts(
    recipe: Recipe, section: VocabularySection, rows: Iterable[Split | RawSplit]
) -> Iterator[tuple[str, Iterator[str]]]:
    return row_texts(recipe, section, rows) if section.corpus is None else _file_texts(recipe, section)


def split_texts(texts: Texts, held_out: float) -> Corpus:
    """Split texts into counted and held out. A text's side depends on the text alone."""
    corpus = Corpus({}, {})
    for language, found in texts.items():
        for side, chosen in ((corpus.held_out, True), (corpus.counted, False)):
            side[language] = [text for text in found if _is_held_out(text, held_out) is chosen]
    return corpus


def _is_held_out(text: str, share: float) -> bool:
    """Whether a text is held out: a draw seeded by the text, the same in every run and order, and for equal texts."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) < share * 2**32


def _files(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Yield each file of the corpus with its language.

    Raises:
        DataError: a name matches no file, or the recipe names languages and no file name has a placeholder.
    """
    section = recipe.vocabulary
    if section is None:
        return
    if section.corpus is None:
        yield from more_train_files(recipe)
        return
    if section.languages is not None and not any(LANGUAGE in name for name in section.corpus):
        raise no_place_for_languages("vocabulary.corpus")
    languages = section.languages or tuple(dict.fromkeys((*recipe.task.train_languages, *recipe.task.languages)))
    yield from named_files(section.corpus, languages, "vocabulary.corpus")


def named_files(patterns: Iterable[str], languages: Iterable[str], where: str) -> Iterator[tuple[str, Path]]:
    """Yield each file that patterns name, with its language ("" without a placeholder for one).

    Args:
        patterns: names that may hold "*" and "{language}".
        languages: what stands in place of the latter.
        where: the recipe's key, for messages.

    Raises:
        DataError: a name matches no file.
    """
    for pattern in patterns:
        for language in languages if LANGUAGE in pattern else ("",):
            name = pattern.replace(LANGUAGE, language)
            found = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())
            if not found:
                raise DataError("no such file of text", where=f"{where}: {name}", hint="Check the name.")
            for path in found:
                yield language, Path(path)


def is_plain_text(path: Path) -> bool:
    """Whether a file has one text a line, and is no table."""
    return path.name.removesuffix(".gz").endswith(TEXT_SUFFIX)


def _file_texts(recipe: Recipe, section: VocabularySection) -> Iterator[tuple[str, Iterator[str]]]:
    columns = section.text or resolve_source(recipe).text
    for language, path in _files(recipe):
        yield language, _read_texts(path, columns)


def _read_texts(path: Path, columns: tuple[str, ...]) -> Iterator[str]:
    if is_plain_text(path):
        yield from read_lines(path)
        return
    if not columns:
        raise DataError("a table needs its text columns named", where=str(path), hint="Set vocabulary.text.")
    for name, column in read_columns(path, columns).items():
        for row, value in enumerate(column, start=1):
            if not isinstance(value, str):
                raise DataError(f'the column "{name}" holds {value!r}, which is no text', where=f"{path}, row {row}")
            yield value


# A data set may have a language with a test split alone: the messages of sdp's own reader, and of `datasets`.
_NO_SPLIT = re.compile("no such split|[Uu]nknown split")


def corpus_rows(recipe: Recipe, data: TaskData) -> tuple[Split | RawSplit, Split]:
    """Return all train and dev rows, also those that training does not draw.

    Args:
        recipe: the recipe.
        data: its data as training reads it.
    """
    if recipe.data.train_rows is None:
        return data.train, data.dev
    return read_split(recipe, resolve_source(recipe), "train"), data.dev


def row_texts(
    recipe: Recipe, section: VocabularySection, rows: Iterable[Split | RawSplit]
) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the texts of the task's rows, a language at a time; a language may occur several times.

    Args:
        recipe: the recipe.
        section: its [vocabulary], which may select languages.
        rows: train and dev, as they are trained and evaluated on.

    Raises:
        DataError: the recipe names languages without rows, or no name in the data has a placeholder.
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
                yield "", _split_texts(split, None, tagging=tagging)
                break
            found[language] = None
            if wanted is None or language in wanted:
                yield language, _split_texts(split, language, tagging=tagging)
    if missing := [language for language in wanted or () if language not in found]:
        what = f"the task's train and dev rows have none in {', '.join(missing)}, only in {', '.join(found)}"
        raise DataError(what, where="vocabulary.languages", hint="Name files of text with vocabulary.corpus.")


def more_train_files(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Yield each existing train file of a language that is evaluated and not trained on; nothing for a data set."""
    source = resolve_source(recipe) if recipe.data.docstrings is None else None
    if source is not None and source.dataset is None:
        for part in _more_parts(recipe, source):
            file = Path(part.fill(source.splits["train"]))
            if file.is_file():
                yield part.name, file


def no_place_for_languages(where: str) -> DataError:
    """Return the error for named languages where no file name has a placeholder."""
    what = 'languages are named, and no name holds "{language}"'
    return DataError(what, where=where, hint="Remove vocabulary.languages, or put the placeholder into the names.")


def _more_train(recipe: Recipe, source: Source | None, wanted: tuple[str, ...] | None) -> Iterator[RawSplit]:
    """Yield the train rows of languages that are evaluated and not trained on."""
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


def _split_texts(split: Split | RawSplit, language: str | None, *, tagging: bool) -> Iterator[str]:
    """Yield the texts of a split's rows, or of the rows in one language."""
    for part, row in zip(split.parts, split.texts, strict=True):
        if language is None or part == language:
            # The words of a tagged sentence together; the texts of a pair separately.
            yield from (" ".join(row),) if tagging else row
