"""Scores of rows with several labels against naive loops, and against trying every answer."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.data.rows import Split
from sdp.evaluation.by_class import by_class
from sdp.evaluation.compare import against_constant, compare
from sdp.evaluation.constant_set import constant_set
from sdp.evaluation.flips import write_flips
from sdp.evaluation.metrics import predictions, same, score, score_predictions, why_undefined
from sdp.evaluation.scored_rows import read_rows, scored_rows
from sdp.pipeline.artifacts.rows import ScoredRows
from sdp.statistics.intervals import resampled_scores

METRICS = ("micro-f1", "macro-f1", "accuracy")


def split_of(labels: np.ndarray) -> Split:
    return Split(
        "dev", tuple((f"text {i}",) for i in range(len(labels))), labels.astype(np.float32), ("",) * len(labels)
    )


def drawn(seed: int, rows: int = 40, labels: int = 4) -> tuple[Split, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.random((rows, labels)) < generator.random(labels)
    return split_of(truth), (truth ^ (generator.random((rows, labels)) < 0.25)).astype(np.int64)


def naive(metric: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    rows, count = labels.shape
    if metric == "accuracy":
        return sum(all(labels[i, k] == predicted[i, k] for k in range(count)) for i in range(rows)) / rows
    both, found, true = np.zeros(count), np.zeros(count), np.zeros(count)
    for i in range(rows):
        for k in range(count):
            both[k] += labels[i, k] * predicted[i, k]
            found[k] += predicted[i, k]
            true[k] += labels[i, k]
    if metric == "micro-f1":
        return 2 * both.sum() / (found.sum() + true.sum())
    return float(np.mean([2 * both[k] / (found[k] + true[k]) for k in range(count) if true[k]]))


@given(st.integers(0, 2**32 - 1), st.sampled_from(METRICS))
@settings(max_examples=40, deadline=None)
def test_scores_are_those_of_naive_loops(seed: int, metric: str) -> None:
    split, predicted = drawn(seed)
    if why_undefined(metric, split, predicted):
        assert not split.labels.any()
        return
    assert score_predictions(metric, split, predicted) == pytest.approx(naive(metric, split.labels, predicted))


@pytest.mark.parametrize("metric", METRICS)
def test_resamples_are_scored_as_rows_are(metric: str) -> None:
    split, predicted = drawn(3)
    draws = resampled_scores(metric, split, [predicted], 30, 7)[:, 0]
    generator = np.random.default_rng(7)
    for value in draws:
        rows = generator.integers(0, len(split), len(split))
        assert value == pytest.approx(naive(metric, split.labels[rows], predicted[rows]))


def test_a_label_is_given_from_a_half_on() -> None:
    logits = np.array([[0.0, -0.1, 3.0], [-2.0, -1.0, -0.5]], dtype=np.float32)
    assert predictions("micro-f1", logits, multi_label=True).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert same(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]])).tolist() == [True, False]


def test_predictions_of_another_kind_are_refused() -> None:
    split, predicted = drawn(0)
    with pytest.raises(ValueError, match="predictions of 1 dimensions, and labels of 2"):
        score_predictions("accuracy", split, predicted.argmax(axis=1))


def test_rows_without_any_label_have_no_f1() -> None:
    empty = split_of(np.zeros((3, 2)))
    assert why_undefined("micro-f1", empty) == "no row has a label"
    assert not why_undefined("accuracy", empty)
    assert np.isnan(score("macro-f1", empty, np.zeros((3, 2), np.float32)))
    assert score("accuracy", empty, np.full((3, 2), -1, np.float32)) == 1


@given(st.integers(0, 2**32 - 1), st.sampled_from(METRICS))
@settings(max_examples=40, deadline=None)
def test_no_constant_answer_is_better(seed: int, metric: str) -> None:
    split = drawn(seed, rows=12)[0]
    if not split.labels.any():
        return

    def value(chosen: tuple[int, ...]) -> float:
        answer = np.zeros(split.labels.shape, np.int64)
        answer[:, list(chosen)] = 1
        return score_predictions(metric, split, answer)

    sets = [chosen for size in range(5) for chosen in itertools.combinations(range(4), size)]
    assert value(tuple(constant_set(metric, split.labels))) == pytest.approx(max(map(value, sets)))


def test_two_models_are_compared_row_by_row() -> None:
    split, predicted = drawn(5)
    other = drawn(5)[0].labels.astype(np.int64)
    logits = [(2.0 * own - 1).astype(np.float32) for own in (predicted, other)]
    found = compare(
        "micro-f1", split, ("dense", logits[0]), ("pruned", logits[1]), resamples=50, seed=0, also=["accuracy"]
    )
    changed = int((predicted != other).any(axis=1).sum())
    assert (found.flips, found.predictions, found.rows) == (changed, 40, 40)
    assert found.models["pruned"].value == 1
    assert found.also["accuracy"].models["pruned"].value == 1
    rows = compare("accuracy", split, ("dense", logits[0]), ("pruned", logits[1]), resamples=50, seed=0)
    assert (rows.test.name, rows.test.only_first, rows.test.only_second) == ("mcnemar", 0, changed)
    constant = against_constant("micro-f1", split, tuple("abcd"), logits[1], resamples=50, seed=0)
    assert constant.answer.startswith('always answering "')
    assert constant.gain.value == pytest.approx(1 - constant.value)
    classes = by_class(split, tuple("abcd"), ("dense", "pruned"), (predicted, other), resamples=50, seed=0)
    for k, own in enumerate(classes):
        assert own.rows == split.labels[:, k].sum()
        value = naive("macro-f1", split.labels[:, [k]], predicted[:, [k]])
        assert own.f1.models["dense"].value == pytest.approx(value)
        assert own.f1.models["pruned"].value == 1


def test_flips_name_the_labels(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    dense = np.array([[1, -1, 2], [-1, -2, -3], [-1, -1, 1]], np.float32)
    pruned = np.array([[1, -1, -2], [-1, -2, -3], [-1, 1, -1]], np.float32)
    assert write_flips(tmp_path / "flips.csv", split_of(labels), tuple("abc"), dense, pruned) == 2
    with (tmp_path / "flips.csv").open(encoding="utf-8", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["row"], first["label"], first["dense"], first["pruned"]) == ("0", "a|c", "a|c", "a")
    assert (first["change"], first["dense_probability"], first["pruned_probability"]) == ("lost", "0.881", "0.119")
    assert (second["label"], second["dense"], second["pruned"], second["change"]) == ("b", "c", "b", "gained")


def test_scored_rows_are_read_as_they_were_written_in_any_order_of_the_labels(tmp_path: Path) -> None:
    split, predicted = drawn(9)
    rows = scored_rows(split, predicted)
    rows.store(tmp_path)
    read = ScoredRows.model_validate_json((tmp_path / ScoredRows.FILE).read_text())
    found, answers = read_rows(read)
    assert (found.labels == split.labels).all()
    assert (answers == predicted).all()
    ids = [2, 0, 3, 1]
    turned = np.empty_like(predicted)
    turned[:, ids] = predicted
    assert scored_rows(split.with_ids(ids), turned) == rows
