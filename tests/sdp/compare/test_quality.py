"""The metric of two runs: rows found again by hash, pairs where they are the same, draws apart where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from sdp.compare.quality import as_logits, compare_quality
from sdp.compare.snapshot import Snapshot
from sdp.data.rows import Split
from sdp.errors import UsageError
from sdp.evaluation.metrics import predictions, score_predictions
from sdp.evaluation.scored_rows import read_rows, scored_rows


def snapshot(split: Split, predicted: np.ndarray, metric: str = "accuracy", part: str | None = None) -> Snapshot:
    rows = scored_rows(split, predicted)
    return Snapshot(snapshot=1, recipe="x", metric=metric, part=part, rows=rows, bench=None)


def numbered(labels: np.ndarray, first: int = 0, parts: tuple[str, ...] = ()) -> Split:
    texts = tuple((f"text {first + i}",) for i in range(len(labels)))
    return Split("test", texts, labels, parts or ("",) * len(labels))


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, 300)


def right_but(labels: np.ndarray, wrong: int) -> np.ndarray:
    answers = labels.copy()
    answers[:wrong] = 1 - answers[:wrong]
    return answers


def test_the_same_rows_in_another_order_are_paired(labels: np.ndarray) -> None:
    split, order = numbered(labels), np.random.default_rng(1).permutation(300)
    shuffled = Split("test", tuple(split.texts[i] for i in order), labels[order], split.parts)
    before = snapshot(split, right_but(labels, 30))
    after = snapshot(shuffled, right_but(labels, 40)[order])
    (row,) = compare_quality(before, after)
    assert (row.before, row.after, row.change) == pytest.approx((0.9, 1 - 40 / 300, -10 / 300))
    # Ten rows that only the first has right: 2 / 2^10.
    assert "paired: the same 300 rows; mcnemar p = 0.00195" in row.how
    assert row.outcome == "worse"
    (same,) = compare_quality(before, before)
    assert (same.change, same.outcome) == (0, "no difference")


def test_the_order_of_a_models_classes_does_not_separate_runs(labels: np.ndarray) -> None:
    split, answers = numbered(labels), right_but(labels, 30)
    turned = split.with_ids((1, 0))
    assert scored_rows(turned, 1 - answers) == scored_rows(split, answers)
    words = tuple(("a", "b") for _ in range(3))
    tags, predicted = np.array([0, 1, 2, 0, 1, 1]), np.array([0, 2, -1, 0, 1, 2])
    tagged = Split("test", words, tags, ("",) * 3, tags=("B-X", "I-X", "O"))
    ids = np.array([2, 0, 1])
    turned = tagged.with_ids(ids)
    assert turned.tags == ("I-X", "O", "B-X")
    assert scored_rows(turned, np.where(predicted < 0, -1, ids[predicted])) == scored_rows(tagged, predicted)


def test_other_rows_are_unpaired_and_the_same_difference_is_less_sure(labels: np.ndarray) -> None:
    same = np.zeros_like(labels)
    before = snapshot(numbered(same), right_but(same, 30))
    (row,) = compare_quality(before, snapshot(numbered(same, first=100), right_but(same, 40)))
    assert row.how == "unpaired bootstrap: 300 and 300 rows, 200 of them the same"
    assert row.outcome == "no difference"
    half = 1.96 * np.sqrt(0.9 * 0.1 / 300 + 0.867 * 0.133 / 300)
    assert row.low is not None
    assert row.high is not None
    assert (row.high - row.low) / 2 == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("first", [0, 50])
def test_parts_have_rows_of_their_own(labels: np.ndarray, first: int) -> None:
    parts = ("en",) * 150 + ("sw",) * 150
    before = snapshot(numbered(labels, parts=parts), labels, part="language")
    after = snapshot(numbered(labels, first, parts), right_but(labels, 60), part="language")
    rows = {row.what: row for row in compare_quality(before, after)}
    assert rows["accuracy on test"].change == pytest.approx(-0.2)
    assert rows["accuracy, en"].change == pytest.approx(-0.4)
    assert (rows["accuracy, en"].outcome, rows["accuracy, sw"].outcome) == ("worse", "no difference")


def test_a_part_that_only_one_run_has_makes_neither_better() -> None:
    """The hard language is gone: the mean rises, and the model is the same."""
    same = np.zeros(300, dtype=np.int64)
    answers = np.concatenate([np.zeros(150, dtype=np.int64), right_but(same[150:], 90)])
    both = snapshot(numbered(same, parts=("en",) * 150 + ("sw",) * 150), answers, part="language")
    one = snapshot(numbered(same[:150], parts=("en",) * 150), answers[:150], part="language")
    for before, after in ((both, one), (one, both)):
        (whole,) = compare_quality(before, after)
        assert (whole.change, whole.outcome) == (0, "no difference")
        assert whole.how.endswith("; mean over the parts that both have (1)")


@pytest.mark.parametrize("first", [0, 50])
def test_an_undefined_metric_is_not_compared(first: int) -> None:
    """Whether rows are paired or not; of two languages one of which has no positive row, only the other is."""
    ones, none = np.array([0, 1] * 20), np.zeros(40, dtype=np.int64)
    labels = np.concatenate([ones, none])
    parts = ("en",) * 40 + ("sw",) * 40
    before = snapshot(numbered(labels, parts=parts), labels, "f1", part="language")
    after = snapshot(numbered(labels, first, parts), np.zeros(80, dtype=np.int64), "f1", part="language")
    rows = {row.what: row for row in compare_quality(before, after)}
    assert {what: (row.outcome, row.undefined) for what, row in rows.items()} == {
        "f1 on test": ("not compared", True),
        "f1, en": ("worse", False),
        "f1, sw": ("not compared", True),
    }
    whole = rows["f1 on test"]
    assert (whole.before, whole.after, whole.change) == (None, None, None)
    assert whole.how.startswith("undefined: ")


def test_metrics_must_be_the_same(labels: np.ndarray) -> None:
    one = snapshot(numbered(labels), labels)
    with pytest.raises(UsageError, match="one run is scored by accuracy, the other by f1"):
        compare_quality(one, one.model_copy(update={"metric": "f1"}))


def test_tagged_sentences_in_another_order_keep_their_words() -> None:
    texts = (("in", "Rome"), ("a",), ("to", "Paris", "now"))
    ids = [np.array([0, 1]), np.array([0]), np.array([0, 1, 0])]
    tags = ("O", "B-LOC")
    split = Split("test", texts, np.concatenate(ids), ("",) * 3, tags=tags)
    turned = Split("test", texts[::-1], np.concatenate(ids[::-1]), ("",) * 3, tags=tags)
    answers = np.array([0, 1, -1, 0, 0, 0])
    (row,) = compare_quality(snapshot(split, split.labels, "entity-f1"), snapshot(turned, answers[::-1], "entity-f1"))
    read, predicted = read_rows(scored_rows(turned, answers[::-1]))
    assert row.how.startswith("paired")
    assert row.after == pytest.approx(score_predictions("entity-f1", read, predicted))


def test_what_is_read_again_scores_the_same() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=40)
    ranking = Split(
        "dev", (("q", "d"),) * 40, rng.integers(0, 3, 40).astype(np.float32), ("",) * 40, np.arange(40) // 8
    )
    for metric in ("ndcg", "pearson"):
        split, predicted = read_rows(scored_rows(ranking, scores))
        assert score_predictions(metric, split, predicted) == score_predictions(metric, ranking, scores)
        back = predictions(metric, as_logits(metric, predicted))
        assert back == pytest.approx(scores, rel=1e-6)
    assert predictions("accuracy", as_logits("accuracy", np.array([2, -1, 0]))).tolist() == [2, -1, 0]


def test_no_text_is_kept(labels: np.ndarray) -> None:
    assert "text 7" not in str(scored_rows(numbered(labels), labels).to_json())
