"""Question answering in windows of long contexts: what training learns of each token, and the best span of each.

A window is a question with a part of its context. A window without the answer is a question without an answer, for
which the first token stands (see `sdp_onnx.deploy.answers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import IGNORED, Split
from sdp_onnx.deploy.answers import NO_TOKEN, best_span

# What the label of a token of a window is made of: nothing, and these for the first and the last token of its answer.
STARTS, ENDS = 1, 2


def token_labels(offsets: NDArray[np.int32], answers: Sequence[str], starts: Sequence[int]) -> NDArray[np.int64]:
    """Return the labels of a window's tokens, [L]: the first answer that lies in it, or the first token for none.

    Args:
        offsets: characters of the context of each token, [L, 2]; -1 for other tokens.
        answers: the answers as they stand in the context.
        starts: the first character of each.

    Returns:
        0, plus `STARTS` at the first token of the answer and `ENDS` at its last one; `IGNORED` for tokens that cannot
        be in an answer.
    """
    inside = offsets[:, 0] != NO_TOKEN
    labels = np.where(inside, 0, IGNORED).astype(np.int64)
    labels[0] = 0
    for answer, start in zip(answers, starts, strict=True):
        first = np.flatnonzero(inside & (offsets[:, 0] <= start) & (start < offsets[:, 1]))
        last = np.flatnonzero(inside & (offsets[:, 0] < start + len(answer)) & (start + len(answer) <= offsets[:, 1]))
        if len(first) and len(last):
            labels[first[0]] += STARTS
            labels[last[-1]] += ENDS
            return labels
    labels[0] = STARTS + ENDS
    return labels


@dataclass(frozen=True)
class Windows:
    """The windows of the questions of a split.

    Attributes:
        split: N questions with their contexts and answers.
        owners: the number of each window's question, int64 [W], from the lowest up.
        offsets: for each window the characters of the context of its tokens, int32 [L, 2].
    """

    split: Split
    owners: NDArray[np.int64]
    offsets: Sequence[NDArray[np.int32]]

    def read_off(self, window: int, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the best span of a window, [1, 5]: start, end, score, score of no answer, probability.

        Args:
            window: its number.
            logits: for the start and the end of an answer at each token, [L, 2].
        """
        span = best_span(logits, self.offsets[window])
        return np.array([[span.start, span.end, span.score, span.none, span.probability]], np.float32)
