"""Compare how two tokenizers split the same texts: used pieces and changed words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from sdp.pipeline.artifacts.vocabulary import BeforeAfter, CoverageReport

BATCH = 512
Ids = tuple[int, ...]


@dataclass(frozen=True)
class Coverage:
    """Counts over some texts, before and after trimming.

    A word is a unit of the pre-tokenizer: in scripts without spaces, XLM-R's pre-tokenizer keeps a whole sentence.

    Attributes:
        words: number of words.
        same_words: words that are tokenised as before.
        pieces_before: pieces of all words before trimming.
        pieces_after: pieces of all words after trimming.
        kept_pieces: pieces of before that are still in the vocabulary.
        unknown_before: unknown pieces before trimming.
        unknown_after: unknown pieces after trimming.
    """

    words: int = 0
    same_words: int = 0
    pieces_before: int = 0
    pieces_after: int = 0
    kept_pieces: int = 0
    unknown_before: int = 0
    unknown_after: int = 0

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def report(self) -> CoverageReport:
        """Return shares and means of the counts; None without words.

        Unknown pieces of both are per 1,000 pieces before trimming, so that the two are comparable.
        """

        def ratio(part: int, whole: int, scale: float = 1.0) -> float | None:
            return scale * part / whole if whole else None

        return CoverageReport(
            words=self.words,
            same_words=ratio(self.same_words, self.words),
            kept_pieces=ratio(self.kept_pieces, self.pieces_before),
            unknown_per_1000=BeforeAfter(
                before=ratio(self.unknown_before, self.pieces_before, 1000),
                after=ratio(self.unknown_after, self.pieces_before, 1000),
            ),
            pieces_per_word=BeforeAfter(
                before=ratio(self.pieces_before, self.words),
                after=ratio(self.pieces_after, self.words),
            ),
        )


def plain_tokenizer(content: str) -> Tokenizer:
    """Return a tokenizer from its JSON, without truncation and padding."""
    tokenizer = Tokenizer.from_str(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def count_pieces(tokenizer: Tokenizer, texts: Sequence[str]) -> NDArray[np.int64]:
    """Count the occurrences of each piece in some texts, [V]."""
    counts = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for encodings in _encode(tokenizer, texts):
        ids = [index for encoding in encodings for index in encoding.ids]
        counts += np.bincount(np.array(ids, dtype=np.int64), minlength=len(counts))
    return counts


@dataclass(frozen=True)
class Comparison:
    """A tokenizer before and after trimming.

    Attributes:
        before: the original tokenizer.
        after: the trimmed tokenizer.
        old_ids: new id -> old id.
        unknown: the old id of the unknown piece.
    """

    before: Tokenizer
    after: Tokenizer
    old_ids: Sequence[int]
    unknown: int

    def coverage(self, texts: Sequence[str]) -> Coverage:
        """Count the changes on some texts."""
        kept = frozenset(self.old_ids)
        total = Coverage()
        for before, after in self._words(texts):
            pieces_before = [index for word in before for index in word]
            pieces_after = [index for word in after for index in word]
            total += Coverage(
                words=len(before),
                same_words=sum(one == other for one, other in zip(before, after, strict=True)),
                pieces_before=len(pieces_before),
                pieces_after=len(pieces_after),
                kept_pieces=sum(index in kept for index in pieces_before),
                unknown_before=pieces_before.count(self.unknown),
                unknown_after=pieces_after.count(self.unknown),
            )
        return total

    def newly_unknown(self, texts: Sequence[str]) -> set[int]:
        """Return the old ids of the words with more unknown pieces than before."""
        return {
            index
            for words in self._words(texts)
            for before, after in zip(*words, strict=True)
            if after.count(self.unknown) > before.count(self.unknown)
            for index in before
        }

    def _words(self, texts: Sequence[str]) -> Iterator[tuple[list[Ids], list[Ids]]]:
        """Yield each text's words as old ids, before and after."""
        encoded = zip(_encode(self.before, texts), _encode(self.after, texts), strict=True)
        for before, after in (pair for batch in encoded for pair in zip(*batch, strict=True)):
            yield _words(before, before.ids), _words(after, [self.old_ids[index] for index in after.ids])


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[Encoding]]:
    # In batches: encodings take many times the memory of their texts.
    for start in range(0, len(texts), BATCH):
        yield tokenizer.encode_batch(list(texts[start : start + BATCH]), add_special_tokens=False)


def _words(encoding: Encoding, ids: Sequence[int]) -> list[Ids]:
    """Return the ids of each word of a text."""
    words: dict[int | None, list[int]] = {}
    for word, index in zip(encoding.word_ids, ids, strict=True):
        words.setdefault(word, []).append(index)
    return [tuple(word) for word in words.values()]
