"""Answers to questions from the best spans of their windows, scored as SQuAD does, with torchmetrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.data.windows import Windows
from sdp_onnx.deploy.answers import Span, combine

F1, EXACT, SCORE, START, END = range(5)
"""Columns of what `answer_questions` returns."""


def answer_questions(windows: Windows, spans: NDArray[np.float32]) -> NDArray[np.float32]:
    """Answer the N questions of a split, and score the answers.

    Args:
        windows: the W windows of the questions.
        spans: their best spans, [W, 5], as `Windows.read_off` returns them.

    Returns:
        [N, 5]: F1 and exact match of the answer, its score, its first character, and the one behind its last.
    """
    right = windows.split.answers
    if right is None:
        raise ValueError("the split has no answers")
    found = np.empty((len(windows.split), 5), np.float32)
    bounds = np.searchsorted(windows.owners, np.arange(len(found) + 1))
    for row, (_, context) in enumerate(windows.split.texts):
        own = [_span(values) for values in spans[bounds[row] : bounds[row + 1]]]
        span = combine(own, context, optional=right.optional)
        f1, exact = squad_scores(context[span.start : span.end], right.of_rows[row])
        found[row] = f1, exact, span.score, span.start, span.end
    return found


def _span(values: NDArray[np.float32]) -> Span:
    start, end, score, none, probability = values.tolist()
    return Span(int(start), int(end), score, none, probability)


def squad_scores(answer: str, right: Sequence[str]) -> tuple[float, float]:
    """Return F1 of the words, and exact match, of an answer with the best of the right ones, each from 0 to 1.

    Articles, punctuation, case and white space make no difference (Rajpurkar et al., arXiv 1606.05250, section 6.1).
    No answer is right where there is none.

    Args:
        answer: the answer; "" for none.
        right: the right ones; none where there is none.
    """
    from torchmetrics.functional.text import squad

    target: Any = {"answers": {"text": list(right) or [""], "answer_start": [0] * max(1, len(right))}, "id": ""}
    found = squad([{"prediction_text": answer, "id": ""}], [target])
    return float(found["f1"]) / 100, float(found["exact_match"]) / 100
