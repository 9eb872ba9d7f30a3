"""Which pieces stay, and that what they tell is told as before."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram, WordPiece
from tokenizers.pre_tokenizers import Whitespace

from sdp.errors import RecipeError
from sdp.vocabulary.pieces import choose_pieces
from sdp.vocabulary.tokenizer_json import Inventory, read_inventory, trim_tokenizer

LETTERS = "abcd"
words = st.text(LETTERS, min_size=1, max_size=5)


def inventory(pieces: list[str], scores: tuple[float, ...] = (), special: tuple[int, ...] = (0,)) -> Inventory:
    kind, prefix = ("Unigram", "") if scores else ("WordPiece", "##")
    return Inventory(kind, tuple(pieces), scores, frozenset(special), special[0], prefix)


def weights(count: int, **used: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = np.zeros(count)
    for index, value in used.items():
        found[int(index.removeprefix("p"))] = value
    return found


def test_special_then_characters_then_the_most_used_then_the_likeliest() -> None:
    pieces = ["<unk>", "é", "▁", "▁été", "▁et", "ét", "té", "ê", "▁zut", "t", "e"]
    scores = (0.0, -5.0, -2.0, -7.0, -8.0, -6.0, -4.0, -9.0, -3.0, -5.0, -5.0)
    used = weights(len(pieces), p3=0.2, p5=0.8)
    kept = [0, 1, 2, 7, 9, 10]  # the lowest score (ê) stays too
    vocabulary = inventory(pieces, scores)
    assert choose_pieces(vocabulary, used, 6) == kept
    assert choose_pieces(vocabulary, used, 7) == sorted([*kept, 5])
    assert choose_pieces(vocabulary, used, 8) == sorted([*kept, 5, 3])
    # "té" is likelier than "▁et", whose "e" the corpus has not; neither has it "z".
    assert choose_pieces(vocabulary, used, 99) == sorted([*kept, 5, 3, 6])
    assert choose_pieces(vocabulary, used, 9, also=[8]) == sorted([*kept, 5, 3, 8])


def test_ties_go_to_the_lower_id() -> None:
    vocabulary = inventory(["[UNK]", "ß", "ßß", "ßßß", "ßßßß"])
    assert choose_pieces(vocabulary, weights(5, p4=0.5, p3=0.5, p2=0.5), 4) == [0, 1, 2, 3]


def test_wordpiece_keeps_characters_at_both_places_and_drops_slots() -> None:
    pieces = ["[UNK]", "[unused1]", "ö", "##ö", "l", "##l", "öl", "##öl", "##", "ä"]
    assert choose_pieces(inventory(pieces), weights(10, p6=1.0), 6) == [0, 2, 3, 4, 5, 6]
    assert choose_pieces(inventory(pieces), weights(10, p6=1.0), 10) == [0, 2, 3, 4, 5, 6, 7]


def test_padding_keeps_its_number() -> None:
    pieces = ["ä", "ö", "<unk>", "<pad>", "ü"]
    vocabulary = inventory(pieces, (-1.0, -2.0, 0.0, 0.0, -3.0), special=(2, 3))
    assert choose_pieces(vocabulary, weights(5, p1=1.0), 4, pad=3) == [1, 2, 4, 3]
    assert choose_pieces(vocabulary, weights(5, p1=1.0), 4) == [1, 2, 3, 4]


def test_no_room() -> None:
    vocabulary = inventory(["[UNK]", "a", "##a", "b", "##b"])
    with pytest.raises(RecipeError, match="3 pieces have no room for the 5 that spell the corpus") as caught:
        choose_pieces(vocabulary, weights(5, p1=1.0), 3)
    assert caught.value.where == "vocabulary.size"
    assert str(caught.value.hint).startswith("Give it at least 5")
    assert choose_pieces(vocabulary, weights(5, p1=1.0), 5) == [0, 1, 2, 3, 4]


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def trimmed(tokenizer: Tokenizer, old_ids: list[int]) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(trim_tokenizer(json.loads(tokenizer.to_str()), old_ids)))


# Scores are whole numbers, so that many segmentations tie.
@settings(max_examples=100, deadline=None)
@given(
    vocabulary=st.dictionaries(words, st.integers(-6, 0), min_size=1, max_size=25),
    text=st.text(f"{LETTERS}x", min_size=1, max_size=14),
    data=st.data(),
)
def test_unigram_text_of_kept_pieces_is_split_as_before(
    vocabulary: dict[str, int], text: str, data: st.DataObject
) -> None:
    before = Tokenizer(Unigram([("<unk>", 0.0), *((piece, float(s)) for piece, s in vocabulary.items())], unk_id=0))
    found = ids(before, text)
    content = json.loads(before.to_str())
    lowest = int(np.argmin(read_inventory(content, "x").scores))
    others = data.draw(st.sets(st.integers(0, len(vocabulary))))
    old_ids = sorted({0, lowest, *found, *others})
    assert [old_ids[index] for index in ids(trimmed(before, old_ids), text)] == found


def test_without_the_lowest_score_an_unknown_character_would_win() -> None:
    pieces = {"a": -30, "bcd": -30, "e": -30, "ab": -1, "c": -100, "de": -1, "d": -30, "b": -30}
    before = Tokenizer(Unigram([("<unk>", 0.0), *((piece, float(s)) for piece, s in pieces.items())], unk_id=0))
    expected = before.encode("abcde").tokens
    assert expected == ["a", "bcd", "e"]
    names = ["<unk>", *pieces]
    without = [names.index(piece) for piece in ("<unk>", "a", "bcd", "e", "ab", "de")]
    assert trimmed(before, without).encode("abcde").tokens != expected
    assert trimmed(before, [*without, names.index("c")]).encode("abcde").tokens == expected


@settings(max_examples=100, deadline=None)
@given(
    starts=st.sets(words, max_size=12),
    ends=st.sets(words, max_size=12),
    text=st.lists(words, min_size=1, max_size=4).map(" ".join),
    data=st.data(),
)
def test_wordpiece_text_of_kept_pieces_is_split_as_before(
    starts: set[str], ends: set[str], text: str, data: st.DataObject
) -> None:
    pieces = ["[UNK]", *sorted(starts), *(f"##{end}" for end in sorted(ends))]
    before = Tokenizer(WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    before.pre_tokenizer = Whitespace()
    known = [word for word in text.split() if 0 not in ids(before, word)]
    found = ids(before, " ".join(known))
    others = data.draw(st.sets(st.integers(0, len(pieces) - 1)))
    old_ids = sorted({0, *found, *others})
    assert [old_ids[index] for index in ids(trimmed(before, old_ids), " ".join(known))] == found
