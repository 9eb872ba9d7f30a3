"""The texts that a vocabulary is trimmed to: files that [vocabulary] names, or the task's own train and dev rows."""

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
"""Of each language, where the task's own rows are the corpus."""
FEW_TEXTS = 1000
"""A language with fewer is worth a warning."""


@dataclass(frozen=True)
class Corpus:
    """Texts by language ("" where the corpus has none).

    Attributes:
        counted: what pieces are chosen by.
        held_out: what the choice is judged by.
    """

    counted: Texts
    held_out: Texts

    @property
    def counts(self) -> dict[str, int]:
        """Texts by language, on both sides together."""
        return {language: len(texts) + len(self.held_out[language]) for language, texts in self.counted.items()}


def corpus_identity(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of every file of the corpus, by language and name; where the task's own rows are the corpus, of those
    files that the task itself does not read.

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
    """Read the corpus, and hold a share of it out.

    Args:
        recipe: the recipe.
        section: its [vocabulary].
        rows: the task's splits, train and dev; read where the section names no files.

    Raises:
        DataError: a file cannot be read, a language has no rows, or there are too few texts to hold some out.
    """
    texts: Texts = {}
    for language, found in _texts(recipe, section, rows):
        own = texts.setdefault(language, [])
        # The task's rows may be millions; of files that were named for this purpose, all count.
        own.extend(found if section.corpus is not None else islice(found, max(0, MOST_ROW_TEXTS - len(own))))
    corpus = split_texts(texts, section.held_out)
    if not any(corpus.counted.values()) or not any(corpus.held_out.values()):
        count = sum(map(len, texts.values()))
        what = f"the corpus has {count} texts, too few to count some and hold {section.held_out:.0%} out"
        raise DataError(what, where="vocabulary.corpus", hint="Give more text, or set vocabulary.held_out.")
    return corpus


def count_texts(recipe: Recipe, section: VocabularySection, rows: Iterable[Split | RawSplit]) -> dict[str, int]:
    """How many texts of each language the corpus has, as `read_corpus` reads it, with none of them in memory.

    Raises:
        DataError: as there, but for too few texts.
    """
    counts: dict[str, int] = {}
    for language, found in _texts(recipe, section, rows):
        counts[language] = counts.get(language, 0) + sum(1 for _ in found)
    return counts


def few_texts_lines(counts: Mapping[str, int]) -> list[str]:
    """A sentence on each language whose texts are so few that many of its words are not among them.

    Args:
        counts: texts by language, "" where there are none.
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
    """Hold a share of some texts out. A text's side depends on nothing but the text."""
    corpus = Corpus({}, {})
    for language, found in texts.items():
        for side, chosen in ((corpus.held_out, True), (corpus.counted, False)):
            side[language] = [text for text in found if _is_held_out(text, held_out) is chosen]
    return corpus


def _is_held_out(text: str, share: float) -> bool:
    """A draw by the text itself: the same in every run and order, and the same for equal texts."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) < share * 2**32


def _files(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Each file of the corpus with its language.

    Raises:
        DataError: a name matches no file, or languages are named that the names have no place for.
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
    for pattern in section.corpus:
        for language in languages if LANGUAGE in pattern else ("",):
            name = pattern.replace(LANGUAGE, language)
            found = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())
            if not found:
                raise DataError("no such file of text", where=f"vocabulary.corpus: {name}", hint="Check the name.")
            for path in found:
                yield language, Path(path)


def _file_texts(recipe: Recipe, section: VocabularySection) -> Iterator[tuple[str, Iterator[str]]]:
    columns = section.text or resolve_source(recipe).text
    for language, path in _files(recipe):
        yield language, _read_texts(path, columns)


def _read_texts(path: Path, columns: tuple[str, ...]) -> Iterator[str]:
    if path.name.removesuffix(".gz").endswith(TEXT_SUFFIX):
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
                yield "", _split_texts(split, None, tagging=tagging)
                break
            found[language] = None
            if wanted is None or language in wanted:
                yield language, _split_texts(split, language, tagging=tagging)
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


def _split_texts(split: Split | RawSplit, language: str | None, *, tagging: bool) -> Iterator[str]:
    """The texts of a split's rows, or of those in one language."""
    for part, row in zip(split.parts, split.texts, strict=True):
        if language is None or part == language:
            # The words of a sentence that is tagged; the texts of a pair, each by itself.
            yield from (" ".join(row),) if tagging else row
