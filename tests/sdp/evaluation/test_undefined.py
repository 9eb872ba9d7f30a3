"""Metrics that are 0/0 on some rows: no number, no interval, and a reason."""

from __future__ import annotations

import json
from math import isnan

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sdp.data.rows import Split
from sdp.evaluation.by_class import by_class
from sdp.evaluation.compare import against_constant, compare
from sdp.evaluation.metrics import score, score_predictions, why_undefined
from sdp.statistics.intervals import bootstrap_interval, joint_lows, paired_bootstrap_test, resampled_scores
from sdp_onnx.bench.interval import Interval, Undefined

TAGS = ("O", "B-LOC", "I-LOC")


def rows(labels: list[float], parts: tuple[str, ...] | None = None) -> Split:
    return Split("dev", (("text",),) * len(labels), np.array(labels), parts or ("",) * len(labels))


def tagged(labels: list[int]) -> Split:
    return Split("dev", (("word",) * len(labels),), np.array(labels), ("",), tags=TAGS)


def ranked(relevance: list[float]) -> Split:
    groups = np.arange(len(relevance)) // 2
    return Split("dev", (("q", "d"),) * len(relevance), np.array(relevance), ("",) * len(relevance), groups)


def one_hot(classes: list[int], count: int = 2) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[classes]


def strict(content: object) -> object:
    """Back from JSON, which has no NaN."""
    return json.loads(json.dumps(content, allow_nan=False))


@pytest.mark.parametrize(
    ("metric", "split", "predicted", "reason"),
    [
        ("matthews", rows([0, 0, 0]), [0, 0, 1], "all labels are of one class"),
        ("macro-f1", rows([1, 1, 1]), [1, 1, 1], "all labels are of one class"),
        ("f1", rows([0, 0, 0]), [0, 0, 0], "no label is of the positive class"),
        ("f1", rows([0, 0, 0]), [0, 1, 0], "no label is of the positive class"),
        ("entity-f1", tagged([0, 0, 0]), [0, 0, 0], "no label is part of an entity"),
        ("pearson", rows([2.0, 2.0, 2.0]), [1.0, 2.0, 3.0], "all labels are equal"),
        ("spearman", rows([1.0, 2.0, 3.0]), [3.0, 3.0, 3.0], "all predictions are equal"),
        ("pearson", rows([1.0, 2.0, 3.0]), [3.0, np.nan, 3.0], "a prediction is no finite number"),
        ("ndcg", ranked([1.0, 1.0, 0.0, 0.0]), [1.0, 2.0, 3.0, 4.0], "no list has rows of different relevance"),
        ("accuracy", rows([]), [], "there are no rows"),
    ],
)
def test_an_undefined_metric_is_no_number_and_has_a_reason(
    metric: str, split: Split, predicted: list[float], reason: str
) -> None:
    answers = np.array(predicted)
    assert isnan(score_predictions(metric, split, answers))
    assert why_undefined(metric, split, answers) == reason
    assert np.isnan(resampled_scores(metric, split, [answers], 20, seed=0)).all()


@pytest.mark.parametrize(
    ("metric", "split", "predicted", "value"),
    [
        # A model that always gives one answer has a score where the labels differ: the one of no use.
        ("matthews", rows([0, 1, 0]), [0, 0, 0], 0.0),
        ("f1", rows([0, 1, 0]), [0, 0, 0], 0.0),
        ("entity-f1", tagged([0, 1, 2]), [0, 0, 0], 0.0),
        ("accuracy", rows([0, 0]), [0, 0], 1.0),
        ("ndcg", ranked([1.0, 0.0]), [5.0, 5.0], (1 + 1 / np.log2(3)) / 2),
    ],
)
def test_one_answer_for_all_rows_has_a_class_metric(metric: str, split: Split, predicted: list, value: float) -> None:
    assert score_predictions(metric, split, np.array(predicted)) == pytest.approx(value)


def test_macro_f1_is_over_the_classes_of_the_labels_whatever_is_predicted() -> None:
    labels, astray = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    expected = np.mean(f1_score(labels, astray, labels=[0, 1], average=None))
    assert score_predictions("macro-f1", rows(labels.tolist()), astray) == pytest.approx(expected)


def test_resamples_without_a_value_are_left_out_of_interval_and_test() -> None:
    split, answers = rows([1] + [0] * 19), np.array([1] + [0] * 18 + [1])
    draws = resampled_scores("f1", split, [answers, answers], 2000, seed=0)
    # The one positive row is not drawn.
    assert np.mean(np.isnan(draws[:, 0])) == pytest.approx((19 / 20) ** 20, abs=0.04)
    found = bootstrap_interval(score_predictions("f1", split, answers), draws[:, 0])
    assert isinstance(found, Interval)
    assert 0 < found.low < found.value < found.high <= 1, "0 was what an undefined draw counted as"
    assert paired_bootstrap_test(draws[:, 0] - draws[:, 1]).p == 1
    few = bootstrap_interval(0.5, np.where(np.arange(1000) < 20, 0.5, np.nan))
    assert few == Undefined(
        "it is 0.500, but undefined in 980 of 1000 resamples of the rows: too few rows for an interval"
    )


def test_joint_low_ends_leave_out_what_is_undefined() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0, 1, (500, 3))
    draws[:, 2] = np.nan
    lows = joint_lows(np.array([0.0, 0.0, np.nan]), draws)
    assert isnan(lows[2])
    assert lows[:2] == pytest.approx(joint_lows(np.zeros(2), draws[:, :2]))
    draws[::2, 1] = np.nan
    assert np.isfinite(joint_lows(np.zeros(3), draws)[:2]).all()


def test_the_record_has_null_and_a_reason_and_names_the_language() -> None:
    parts = ("en",) * 4 + ("de",) * 4
    split = rows([0, 1, 0, 1, 0, 0, 0, 0], parts)
    dense, pruned = one_hot([0, 1, 0, 1] * 2), one_hot([0, 1, 1, 1] * 2)
    found = compare(
        "f1", split, ("dense", dense), ("pruned", pruned), resamples=50, seed=0, part="language", also=("matthews",)
    )
    record = strict(found.to_json())
    nothing = {"value": None, "low": None, "high": None}
    reason = "no label is of the positive class"
    assert record["parts"]["de"]["drop"] == {**nothing, "undefined": reason}
    assert record["parts"]["de"]["drop_of_all"] == {**nothing, "undefined": reason}
    assert record["models"]["dense"] == record["drop"] == {**nothing, "undefined": f"on de {reason}"}
    assert record["test"]["p"] is None
    assert record["also"]["matthews"]["drop"]["undefined"] == "on de all labels are of one class"
    assert record["parts"]["en"]["drop"]["value"] == pytest.approx(0.2)
    assert record["parts"]["en"]["drop_of_all"]["low"] is not None


def test_a_class_of_few_rows_has_no_zeros_of_resamples_without_it() -> None:
    split, answers = rows([1] + [0] * 9), np.array([1] + [0] * 9)
    found = by_class(split, ("a", "b"), ("dense", "exported"), (answers, answers), resamples=200, seed=0)
    records = [own.to_json() for own in found]
    assert records[1]["f1"]["dense"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert records[1]["f1"]["drop_of_all"] == {"value": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.parametrize(
    ("metric", "split", "names", "logits", "answer", "value", "better"),
    [
        ("accuracy", rows([0] * 30 + [1] * 10), ("a", "b"), [0] * 40, 'always answering "a"', 0.75, False),
        ("accuracy", rows([0] * 30 + [1] * 10), ("a", "b"), [0] * 30 + [1] * 10, 'always answering "a"', 0.75, True),
        # Always the positive class is what F1 is highest for.
        ("f1", rows([0] * 30 + [1] * 10), ("a", "b"), [0] * 36 + [1] * 4, 'always answering "b"', 0.4, False),
        ("matthews", rows([0] * 30 + [1] * 10), ("a", "b"), [0] * 30 + [1] * 10, 'always answering "a"', 0.0, True),
        ("accuracy", rows([0] * 40), ("a", "b"), [0] * 40, 'always answering "a"', 1.0, False),
        ("entity-f1", tagged([0, 1, 2, 0]), TAGS, [0, 1, 2, 0], 'tagging every word "O"', 0.0, True),
    ],
)
def test_a_model_is_compared_with_one_answer(
    metric: str, split: Split, names: tuple[str, ...], logits: list[int], answer: str, value: float, better: bool
) -> None:
    found = against_constant(metric, split, names, one_hot(logits, len(names)), resamples=300, seed=0)
    assert (found.answer, found.value) == (answer, pytest.approx(value))
    assert (found.gain.low > 1e-9) is better


def test_scores_are_compared_with_equal_scores() -> None:
    labels = np.arange(40) / 40
    for logits, better in ((labels, True), (np.random.default_rng(0).random(40), False)):
        found = against_constant(
            "pearson", rows(labels.tolist()), (), logits[:, None].astype(np.float32), resamples=200, seed=0
        )
        assert (found.value, found.gain.low > 0) == (0.0, better)
    flat = against_constant("pearson", rows(labels.tolist()), (), np.zeros((40, 1), np.float32), resamples=20, seed=0)
    assert flat.gain == Undefined("all predictions are equal")
    lists = ranked([1.0, 0.0] * 20)
    # In the order of the file all are right: no reason to take the order for an answer.
    right = against_constant("ndcg", lists, (), lists.labels[:, None].astype(np.float32), resamples=50, seed=0)
    assert right.gain.low == pytest.approx(1 - (1 + 1 / np.log2(3)) / 2)
    assert score("ndcg", lists, np.zeros((40, 1), np.float32)) == pytest.approx(right.value)
