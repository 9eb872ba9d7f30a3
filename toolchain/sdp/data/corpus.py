"""The texts that a vocabulary is trimmed to: files that [vocabulary] names, or the task's own train and dev rows."""

from __future__ import annotations

import glob
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdp.data.files import read_columns, read_lines
from sdp.data.rows import Split
from sdp.data.source import LANGUAGE, part_kind, resolve_source
from sdp.errors import DataError
from sdp.recipe.sections import Recipe
from sdp.recipe.vocabulary import VocabularySection

Texts = dict[str, list[str]]
TEXT_SUFFIX = ".txt"


@dataclass(frozen=True)
class Corpus:
    """Texts by language ("" where the corpus has none).

    Attributes:
        counted: what pieces are chosen by.
        held_out: what the choice is judged by.
    """

    counted: Texts
    held_out: Texts


def corpus_identity(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of every file of the corpus, by language and name; empty where the task's own rows are the corpus.

    Raises:
        DataError: a file is missing.
    """
    identity: dict[str, str] = {}
    for language, path in _files(recipe):
        name = f"{language}: {path.name}" if language else path.name
        with path.open("rb") as stream:
            # Files of one name in several folders are told apart by their order.
            identity[name if name not in identity else f"{name} ({len(identity)})"] = hashlib.file_digest(
                stream, "sha256"
            ).hexdigest()
    return identity


def read_corpus(recipe: Recipe, section: VocabularySection, rows: Iterable[Split]) -> Corpus:
    """Read the corpus, and hold a share of it out.

    Args:
        recipe: the recipe.
        section: its [vocabulary].
        rows: the task's splits, train and dev; read where the section names no files.

    Raises:
        DataError: a file cannot be read, a language has no rows, or there are too few texts to hold some out.
    """
    texts = _file_texts(recipe, section) if section.corpus is not None else _row_texts(recipe, section, rows)
    corpus = split_texts(texts, section.held_out)
    if not any(corpus.counted.values()) or not any(corpus.held_out.values()):
        count = sum(map(len, texts.values()))
        what = f"the corpus has {count} texts, too few to count some and hold {section.held_out:.0%} out"
        raise DataError(what, where="vocabulary.corpus", hint="Give more text, or set vocabulary.held_out.")
    return corpus


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
    if section is None or section.corpus is None:
        return
    if section.languages is not None and not any(LANGUAGE in name for name in section.corpus):
        raise _no_place_for_languages("vocabulary.corpus")
    languages = section.languages or tuple(dict.fromkeys((*recipe.task.train_languages, *recipe.task.languages)))
    for pattern in section.corpus:
        for language in languages if LANGUAGE in pattern else ("",):
            name = pattern.replace(LANGUAGE, language)
            found = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())
            if not found:
                raise DataError("no such file of text", where=f"vocabulary.corpus: {name}", hint="Check the name.")
            for path in found:
                yield language, Path(path)


def _file_texts(recipe: Recipe, section: VocabularySection) -> Texts:
    columns = section.text or resolve_source(recipe).text
    texts: Texts = {}
    for language, path in _files(recipe):
        texts.setdefault(language, []).extend(_read_texts(path, columns))
    return texts


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


def _row_texts(recipe: Recipe, section: VocabularySection, rows: Iterable[Split]) -> Texts:
    source = resolve_source(recipe) if recipe.data.docstrings is None else None
    names = (source.config, *source.splits.values()) if source is not None else ()
    by_language = part_kind(recipe, *names) == "language"
    if section.languages is not None and not by_language:
        raise _no_place_for_languages("data")
    texts: Texts = {}
    for split in rows:
        for part, row in zip(split.parts, split.texts, strict=True):
            # The words of a sentence that is tagged; the texts of a pair, each by itself.
            found = [" ".join(row)] if recipe.task.problem_type == "tagging" else row
            texts.setdefault(part if by_language else "", []).extend(found)
    if section.languages is not None:
        missing = [language for language in section.languages if language not in texts]
        if missing:
            what = f"the task's train and dev rows have none in {', '.join(missing)}, only in {', '.join(texts)}"
            raise DataError(what, where="vocabulary.languages", hint="Name files of text with vocabulary.corpus.")
        texts = {language: texts[language] for language in section.languages}
    return texts


def _no_place_for_languages(where: str) -> DataError:
    what = 'languages are named, and no name holds "{language}"'
    return DataError(what, where=where, hint="Remove vocabulary.languages, or put the placeholder into the names.")
