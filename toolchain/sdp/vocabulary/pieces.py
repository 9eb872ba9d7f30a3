"""Choose the pieces of a vocabulary that stay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sdp.errors import RecipeError
from sdp.vocabulary.tokenizer_json import Inventory

# Digits, punctuation and Latin letters occur in texts of any language: numbers, addresses, names.
ASCII = frozenset(map(chr, range(0x21, 0x7F)))
# Slots that a vocabulary reserves and no text can produce.
_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|madeupword\d+")


def choose_pieces(
    inventory: Inventory, weights: NDArray[np.float64], size: int, *, also: Iterable[int] = (), pad: int | None = None
) -> list[int]:
    """Choose at most `size` pieces: the required ones, then the most used, then the likeliest of the rest.

    A text whose pieces are all kept is tokenised as before. Unigram takes the best path: removing an unused piece
    removes paths other than the best, and changes no tie, which goes to the piece that begins first. Unigram scores an
    unknown character at the lowest score of the vocabulary minus 10. A piece of the lowest score stays, so that an
    unknown character never scores better than before. WordPiece takes the longest matching piece: that piece is kept,
    and no new piece appears; only a word that was unknown may become known.

    Args:
        inventory: the vocabulary.
        weights: use of each piece, [V]; 0 where the corpus does not have it.
        size: most pieces to keep.
        also: ids that must stay besides special tokens and characters.
        pad: id of the padding token, which does not change: RoBERTa's positions are counted from it.

    Returns:
        the kept ids in their old order; the index in the list is the new id.

    Raises:
        RecipeError: `size` is too small for the required pieces.
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
    """Return the characters of the pieces that the corpus uses."""
    used = (int(index) for index in np.flatnonzero(weights) if int(index) not in inventory.special)
    return frozenset(character for index in used for character in _spelling(inventory, index))


def _characters(inventory: Inventory, alphabet: frozenset[str]) -> Iterator[int]:
    """Yield the pieces of one character, at the beginning of a word and inside."""
    return (index for index in range(len(inventory.pieces)) if _spelling(inventory, index) in alphabet)


def _spelling(inventory: Inventory, index: int) -> str:
    """Return a piece without its continuation mark."""
    piece = inventory.pieces[index]
    return piece.removeprefix(inventory.prefix) if len(piece) > len(inventory.prefix) else piece


def _ranking(inventory: Inventory, weights: NDArray[np.float64], alphabet: frozenset[str]) -> Iterator[int]:
    """Yield used pieces, the most used first; then unused ones of the same characters, the likeliest first.

    The likeliest have the highest score; WordPiece has no scores, and its ids are ordered from frequent to rare.
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
