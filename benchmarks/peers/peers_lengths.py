"""How long real texts are: the batches of peers.py whose texts have different lengths."""

from __future__ import annotations

import numpy as np

QUANTILES = {
    # Of the 1,821 sentences of SST-2's test split and the 5,010 English pairs of XNLI's, in pieces of XLM-R with the
    # special ones (2026-11-30).
    "sst2": (3, 10, 12, 13, 16, 17, 19, 21, 23, 24, 26, 28, 29, 31, 33, 35, 37, 40, 44, 48, 67),
    "xnli": (14, 22, 25, 28, 30, 32, 34, 36, 38, 40, 42, 43, 45, 47, 49, 51, 54, 56, 60, 65, 96),
    # Not measured: a log-normal distribution with a median of 90 and a standard deviation of 0.9, up to 512.
    "tickets": (9, 20, 28, 35, 42, 49, 56, 64, 72, 80, 90, 101, 113, 127, 144, 165, 192, 229, 285, 395, 512),
}
"""Tokens of a text at 0, 5, 10, ..., 100 % of each distribution."""


def text_lengths(name: str, texts: int) -> list[int]:
    """Return the tokens of each text of a batch: evenly spread over a distribution, and mixed.

    The order is van der Corput's sequence in base 2, so that the first 1, 2, 4, ... texts are evenly spread, too.
    """
    places = [_radical_inverse(index) for index in range(texts)]
    # In the middle of the part of the distribution that a text stands for.
    shares = [place + 1 / (2 << max(0, (texts - 1).bit_length())) for place in places]
    known = QUANTILES[name]
    return [round(value) for value in np.interp(shares, np.linspace(0, 1, len(known)), known)]


def _radical_inverse(index: int) -> float:
    """Return an index with its binary digits mirrored at the point: 0, 1/2, 1/4, 3/4, 1/8, ..."""
    place, share = 0.0, 0.5
    while index:
        place += share * (index & 1)
        index, share = index >> 1, share / 2
    return place
