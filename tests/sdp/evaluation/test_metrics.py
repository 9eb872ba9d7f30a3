"""Scores against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sdp.data.rows import Split
from sdp.evaluation.metrics import predictions, score, score_predictions
from sdp.statistics.intervals import resampled_scores

LABELS = np.array([1, 1, 1, 0, 0, 0, 0, 0])
PREDICTED = np.array([1, 1, 0, 1, 0, 0, 0, 0])  # 2 true positives, 1 false positive, 1 false negative, 4 true negatives


def rows(labels: np.ndarray) -> Split:
    return Split("dev", (("text",),) * len(labels), labels, ("",) * len(labels))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", 6 / 8),
        ("f1", 2 * 2 / (2 * 2 + 1 + 1)),
        ("macro-f1", (4 / 6 + 8 / 10) / 2),
        ("matthews", (2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5)),
    ],
)
def test_classification(metric: str, expected: float) -> None:
    assert score_predictions(metric, rows(LABELS), PREDICTED) == pytest.approx(expected)


def test_f1_is_of_one_class_wherever_a_head_has_it() -> None:
    """The second class of the data: a checkpoint that has it first made f1 that of the other one."""
    turned = rows(LABELS).with_ids((1, 0))
    assert turned.labels.tolist() == (1 - LABELS).tolist()
    for metric in ("f1", "macro-f1", "accuracy", "matthews"):
        expected = score_predictions(metric, rows(LABELS), PREDICTED)
        assert score_predictions(metric, turned, 1 - PREDICTED) == pytest.approx(expected)
        draws = resampled_scores(metric, rows(LABELS), [PREDICTED], 20, 0)
        assert resampled_scores(metric, turned, [1 - PREDICTED], 20, 0) == pytest.approx(draws, nan_ok=True)
    some = np.arange(8) % 3 > 0
    part = turned.where(some)
    assert score_predictions("f1", part, 1 - PREDICTED[some]) == score_predictions(
        "f1", rows(LABELS[some]), PREDICTED[some]
    )


def test_correlations() -> None:
    labels, logits = np.array([1.0, 2.0, 3.0, 4.0]), np.array([[2.0], [1.0], [4.0], [30.0]], dtype=np.float32)
    assert score("spearman", rows(labels), logits) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert score("pearson", rows(labels), logits) == pytest.approx(np.corrcoef(labels, logits[:, 0])[0, 1])


def test_the_largest_logit_is_the_prediction() -> None:
    assert predictions("accuracy", np.array([[0.1, 0.2, -3], [5, 1, 2]], dtype=np.float32)).tolist() == [1, 0]
