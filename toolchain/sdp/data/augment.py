"""Rows without labels made from the training rows: what they mean does not matter, for the teacher reads them too.

Half of them are crossed: the beginning of one row and the end of another. In the others some words are replaced by
words of another row. (TinyBERT, arXiv 1909.10351, replaces words by a language model's; here they are the task's own.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sdp.data.rows_on_disk import Texts

REPLACED = 0.2
"""Share of the words of a row that are replaced."""


def augmented_rows(rows: Sequence[Texts], count: int, seed: int, *, words: bool = False) -> Iterator[Texts]:
    """Make rows from pairs of rows.

    Args:
        rows: a row's texts, one a column; its words for tagging. There is at least one.
        count: how many to make.
        seed: another seed, other rows.
        words: a row is a list of words.
    """
    generator = np.random.default_rng(seed)
    for _ in range(count):
        first, second = (rows[int(generator.integers(len(rows)))] for _ in range(2))
        mix = _crossed if generator.random() < 0.5 else _replaced
        if words:
            yield tuple(mix(list(first), list(second), generator))
        else:
            yield tuple(
                " ".join(mix(one.split(), other.split(), generator)) for one, other in zip(first, second, strict=True)
            )


def _crossed(first: list[str], second: list[str], generator: np.random.Generator) -> list[str]:
    """The first words of one text and the last of another, at least one word in all where there is one."""
    head = first[: int(generator.integers(len(first) + 1))]
    tail = second[int(generator.integers(len(second) + 1)) :]
    return head + tail or first


def _replaced(first: list[str], second: list[str], generator: np.random.Generator) -> list[str]:
    """A text with some of its words replaced by words of another."""
    if not second:
        return first
    drawn = generator.random(len(first)) < REPLACED
    return [
        second[int(generator.integers(len(second)))] if new else word for word, new in zip(first, drawn, strict=True)
    ]
