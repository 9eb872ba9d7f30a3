"""Extractive question answering: windows of long contexts, and the best span in the outputs for them.

A context that is too long is read in windows that share some tokens; the answer is the best span of any window
(Devlin et al., arXiv 1810.04805, section 4.2). Where questions may have no answer, a span must score higher than the
first token does in every window (section 4.3, with a threshold of 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_TOKENS = 30
"""Tokens of the longest answer, as in SQuAD's baselines."""
NO_TOKEN = -1
LOWEST = -1e30
"""In place of a score where there is nothing to score; finite, as files with infinities count as damaged."""
START, END = 0, 1


@dataclass(frozen=True)
class Span:
    """A part of a context; empty where the question has no answer in it.

    Attributes:
        start: its first character.
        end: the character behind its last one.
        score: sum of the outputs for its first and its last token.
        none: the score of "no answer".
        probability: product of the softmax of both over the context and "no answer", in the window of the span.
    """

    start: int
    end: int
    score: float
    none: float
    probability: float


def best_span(logits: NDArray[np.float32], offsets: NDArray[np.int32], most: int = MOST_TOKENS) -> Span:
    """Return the span of at most so many tokens with the highest score, the shortest and first of equal ones.

    Args:
        logits: outputs for the start and the end of an answer at each token, [L, 2].
        offsets: for each token of the context its first character and the one behind its last, [L, 2]; -1 for other
            tokens.
        most: tokens of the longest answer.
    """
    scores = logits.astype(np.float64)
    inside = offsets[:, START] != NO_TOKEN
    starts, ends = (np.where(inside, scores[:, side], -np.inf) for side in (START, END))
    none = float(scores[0].sum())
    best, place, length = -np.inf, 0, 0
    for more in range(min(most, len(scores))):
        sums = starts[: len(starts) - more] + ends[more:]
        first = int(sums.argmax())
        if sums[first] > best:
            best, place, length = float(sums[first]), first, more
    if not np.isfinite(best):
        return Span(0, 0, LOWEST, none, 0.0)
    candidates = inside.copy()
    candidates[0] = True
    share = float(np.exp(best - sum(_log_sum(scores[candidates, side]) for side in (START, END))))
    return Span(int(offsets[place, START]), int(offsets[place + length, END]), best, none, share)


def _log_sum(values: NDArray[np.float64]) -> float:
    top = float(values.max())
    return top + float(np.log(np.exp(values - top).sum()))


def combine(windows: Sequence[Span], context: str, *, optional: bool) -> Span:
    """Return the answer to a question from the best spans of its windows, without white space at its ends.

    Args:
        windows: one span a window, in their order.
        context: the whole context.
        optional: whether a question may have no answer.
    """
    best = max(windows, key=lambda span: span.score)
    none = min(span.none for span in windows) if optional else LOWEST
    # At most: in single precision it is a little less.
    if best.score <= LOWEST or best.score < none:
        rest = 1.0 - sum(span.probability for span in windows) / len(windows)
        return Span(0, 0, best.score, none, rest if optional else 0.0)
    text = context[best.start : best.end]
    start = best.start + len(text) - len(text.lstrip())
    return Span(start, start + len(text.strip()), best.score, none, best.probability)
