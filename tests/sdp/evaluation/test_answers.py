"""SQuAD's scores against an implementation of its own rules, and answers of windows."""

from __future__ import annotations

import re
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.data.rows import Answers, Split
from sdp.data.windows import Windows
from sdp.evaluation.answers import answer_questions, squad_scores
from sdp.evaluation.compare import against_constant, compare
from sdp.evaluation.metrics import predictions, score_predictions
from sdp.evaluation.scored_rows import read_rows, scored_rows

WORDS = st.lists(st.sampled_from(["the", "a", "An", "cat", "Cat!", "sat,", "on", "mat.", "-", "11"]), max_size=5)
TEXT = WORDS.map(" ".join)


def words_of(text: str) -> list[str]:
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def by_rules(answer: str, right: list[str]) -> tuple[float, float]:
    best, exact = 0.0, 0.0
    for other in right or [""]:
        own, wanted = words_of(answer), words_of(other)
        exact = max(exact, float(own == wanted))
        shared = sum((Counter(own) & Counter(wanted)).values())
        value = 2 * shared / (len(own) + len(wanted)) if own and wanted else float(own == wanted)
        best = max(best, value)
    return best, exact


# torchmetrics is imported by the first example.
@settings(deadline=None)
@given(TEXT, st.lists(TEXT, max_size=3))
def test_scores_are_those_of_squads_rules(answer: str, right: list[str]) -> None:
    assert squad_scores(answer, right) == pytest.approx(by_rules(answer, right))


def split(optional: bool) -> Split:
    texts = (("who", "the cat sat on a mat"), ("what", "nothing here"))
    answers = Answers((("cat", "the cat"), ()), ((4, 0), ()), optional)
    return Split("dev", texts, np.ones(2, np.float32), ("", ""), answers=answers)


def test_questions_are_answered_by_the_best_of_their_windows() -> None:
    # Start, end, score, score of no answer, probability: two windows of the first question, one of the second.
    spans = np.array([[8, 11, 1, 0, 0.5], [0, 7, 3, 2, 0.5], [0, 7, 1, 4, 0.5]], np.float32)
    windows = Windows(split(optional=True), np.array([0, 0, 1]), [np.zeros((1, 2), np.int32)] * 3)
    found = answer_questions(windows, spans)
    assert found.tolist() == [[1, 1, 3, 0, 7], [1, 1, 1, 0, 0]]
    always = Windows(split(optional=False), windows.owners, windows.offsets)
    assert answer_questions(always, spans).tolist() == [[1, 1, 3, 0, 7], [0, 0, 1, 0, 7]]


def test_metrics_are_means_over_questions_with_intervals_and_a_constant() -> None:
    generator = np.random.default_rng(0)
    count = 40
    texts = tuple(("who", f"it is {place} of them") for place in range(count))
    of_rows = tuple(() if place % 4 == 0 else (f"{place} of",) for place in range(count))
    starts = tuple(() if place % 4 == 0 else (6,) for place in range(count))
    rows = Split("dev", texts, np.ones(count, np.float32), ("",) * count, answers=Answers(of_rows, starts, True))
    dense, pruned = (generator.random((count, 5)).astype(np.float32) for _ in range(2))
    models = ("dense", dense), ("pruned", pruned)
    found = compare("answer-f1", rows, *models, resamples=200, seed=0, also=("exact-match",))
    assert found.models["dense"].value == pytest.approx(dense[:, 0].mean())
    assert found.also["exact-match"].models["pruned"].value == pytest.approx(pruned[:, 1].mean())
    assert found.drop.low < found.drop.value < found.drop.high
    constant = against_constant("exact-match", rows, (), dense, resamples=50, seed=0)
    assert (constant.answer, constant.value) == ("never answering", 0.25)
    stored, again = read_rows(scored_rows(rows, predictions("answer-f1", dense)))
    assert score_predictions("answer-f1", stored, again) == pytest.approx(dense[:, 0].mean())
