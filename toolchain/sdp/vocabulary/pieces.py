"""Which pieces of a vocabulary stay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sdp.errors import RecipeError
from sdp.vocabulary.tokenizer_json import Inventory

# Digits, punctuation and Latin letters turn up in texts of any language: numbers, addresses, names.
ASCII = frozenset(map(chr, range(0x21, 0x7F)))
# Slots that a vocabulary was trained with and no text can reach.
_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|madeupword\d+")


def choose_pieces(
    inventory: Inventory, weights: NDArray[np.float64], size: int, *, also: Iterable[int] = (), pad: int | None = None
) -> list[int]:
    """Choose at most `size` pieces: what must stay, then the most used, then the likeliest of the rest.

    A text whose pieces are all kept is tokenised as before. In Unigram, whose segmentation is the best path, a piece
    that is removed takes paths away, and never the best one; nor does it let another win a tie, which goes to the piece
    that begins first. A character without a piece of its own counts as unknown at the lowest score of the vocabulary
    minus 10, so a piece of that score stays, and a character that lost its piece can only be worse off than before. In
    WordPiece, which takes the longest piece that fits, what was taken is there and what was not there is not longer;
    only a word that was unknown may become known.

    Args:
        inventory: the vocabulary.
        weights: how much each piece is used, [V]; 0 where the corpus has it not.
        size: most pieces to keep.
        also: ids that must stay beside special tokens and characters.
        pad: id of the padding token, which keeps its number: positions of RoBERTa's kind are counted from it.

    Returns:
        the kept ids in their old order; the place in the list is the new id.

    Raises:
        RecipeError: `size` has no room for what must stay.
    """
    alphabet = corpus_alphabet(inventory, weights)
    required = {*inventory.special, *also, *_characters(inventory, alphabet | ASCII)}
    if inventory.scores:
        required.add(int(np.argmin(inventory.scores)))
    if len(required) > size:
        what = f"{size} pieces have no room for the {len(required)} that spell the corpus: special tokens, characters"
        hint = f"Give it at least {len(required)}, or a corpus with fewer characters."
        raise RecipeError(what, where="vocabulary.size", hint=hint)
    optional = (index for index in _ranking(inventory, weights, alphabet) if index not in required)
    kept = sorted({*required, *islice(optional, size - len(required))})
    if pad in kept and pad < len(kept):
        kept.remove(pad)
        kept.insert(pad, pad)
    return kept


def corpus_alphabet(inventory: Inventory, weights: NDArray[np.float64]) -> frozenset[str]:
    """The characters of the pieces that the corpus uses."""
    used = (int(index) for index in np.flatnonzero(weights) if int(index) not in inventory.special)
    return frozenset(character for index in used for character in _spelling(inventory, index))


def _characters(inventory: Inventory, alphabet: frozenset[str]) -> Iterator[int]:
    """The pieces of one character, at the beginning of a word and within."""
    return (index for index in range(len(inventory.pieces)) if _spelling(inventory, index) in alphabet)


def _spelling(inventory: Inventory, index: int) -> str:
    """A piece without the mark that it continues a word."""
    piece = inventory.pieces[index]
    return piece.removeprefix(inventory.prefix) if len(piece) > len(inventory.prefix) else piece


def _ranking(inventory: Inventory, weights: NDArray[np.float64], alphabet: frozenset[str]) -> Iterator[int]:
    """Used pieces, the most used first; then unused ones of the same characters, the likeliest first.

    The likeliest are those of the highest score; WordPiece has none, and its ids go from frequent to rare.
    """
    used = np.flatnonzero(weights)
    yield from (int(index) for index in used[np.argsort(-weights[used], kind="stable")])
    rest = np.flatnonzero(weights == 0)
    if inventory.scores:
        rest = rest[rest < len(inventory.scores)]
        rest = rest[np.argsort(-np.array(inventory.scores)[rest], kind="stable")]
    for index in map(int, rest):
        if alphabet.issuperset(_spelling(inventory, index)) and not _UNUSED.fullmatch(inventory.pieces[index]):
            yield index
