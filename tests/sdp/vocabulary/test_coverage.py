"""Counting pieces, and what trimming changed, against counts by hand."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from sdp.pipeline.artifacts.vocabulary import BeforeAfter
from sdp.vocabulary import coverage
from sdp.vocabulary.coverage import Comparison, Coverage, count_pieces, plain_tokenizer
from sdp.vocabulary.tokenizer_json import trim_tokenizer

PIECES = ["[UNK]", "rain", "rainbow", "##bow", "bow", "##s", "sun", "s", "##un"]
# "rainbow" goes and is told in two; "sun" goes, and "s ##un" stands for it; "bow" goes, and nothing does.
OLD_IDS = [0, 1, 3, 5, 7, 8]
TEXTS = ["rain rainbow", "rainbows sun", "bow snow rains"]


@pytest.fixture
def before() -> Tokenizer:
    tokenizer = Tokenizer(WordPiece({piece: index for index, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


@pytest.fixture
def comparison(before: Tokenizer) -> Comparison:
    after = Tokenizer.from_str(json.dumps(trim_tokenizer(json.loads(before.to_str()), OLD_IDS)))
    return Comparison(before, after, OLD_IDS, unknown=0)


def test_counts(before: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [1, 2, 2, 0, 1, 2, 1, 0, 0]
    assert count_pieces(before, TEXTS).tolist() == expected
    monkeypatch.setattr(coverage, "BATCH", 2)
    assert count_pieces(before, TEXTS).tolist() == expected
    assert count_pieces(before, []).tolist() == [0] * 9


def test_coverage(comparison: Comparison) -> None:
    found = comparison.coverage(TEXTS)
    assert found == Coverage(
        words=7,
        same_words=3,  # rain, snow, rains
        pieces_before=9,
        pieces_after=12,
        kept_pieces=5,
        unknown_before=1,
        unknown_after=2,
    )
    report = found.report()
    assert (report.words, report.same_words, report.kept_pieces) == (7, 3 / 7, 5 / 9)
    assert report.unknown_per_1000 == BeforeAfter(before=1000 / 9, after=2000 / 9)
    assert report.pieces_per_word == BeforeAfter(before=9 / 7, after=12 / 7)


def test_sums_over_texts(comparison: Comparison) -> None:
    assert comparison.coverage(TEXTS[:1]) + comparison.coverage(TEXTS[1:]) == comparison.coverage(TEXTS)
    nothing = comparison.coverage([])
    assert nothing == Coverage()
    assert nothing.report().same_words is None


def test_newly_unknown(comparison: Comparison) -> None:
    assert comparison.newly_unknown(TEXTS) == {PIECES.index("bow")}
    assert comparison.newly_unknown(TEXTS[:2]) == set()


def test_a_plain_tokenizer_neither_cuts_nor_pads(before: Tokenizer) -> None:
    before.enable_truncation(1)
    before.enable_padding(length=5)
    assert plain_tokenizer(before.to_str()).encode("rain sun").ids == [1, 6]
