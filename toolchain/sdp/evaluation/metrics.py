"""Compute the score of a task from logits, with scikit-learn, scipy and seqeval.

A metric that is 0/0 on some rows is undefined there: the score is NaN in memory and null with a reason in JSON
(`why_undefined`), never 0, which a gate would treat as a measurement.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import config_context
from sklearn import metrics as sklearn_metrics

from sdp.data.rows import Split
from sdp.evaluation.answers import EXACT, F1
from sdp.recipe.benchmark_tasks import MetricName

Array = NDArray[np.generic]
NO_PREDICTION = -1
"""The prediction for a word without output; not a class, so never right and not part of an entity."""
OUTSIDE = "O"
ANSWERS: dict[MetricName, int] = {"answer-f1": F1, "exact-match": EXACT}
"""Metrics of the answers to questions, with their columns in what `answer_questions` returns."""
NUMERIC: tuple[MetricName, ...] = ("pearson", "spearman", "ndcg", *ANSWERS)
"""Metrics of one score per row instead of classes."""


def predictions(metric: MetricName, logits: NDArray[np.float32], *, multi_label: bool = False) -> Array:
    """Convert logits to predictions: class ids [N], or scores [N] for metrics of regression and ranking.

    The predictions of question answering are the scores of the answers: their mean is the metric.

    Args:
        metric: name of the metric.
        logits: [N, C] (words for N in tagging); C = 1 for regression and ranking. NaN, a missing output, becomes -1.
            For question answering what `answer_questions` returns.
        multi_label: return which of C labels each row gets instead, 1 or 0, [N, C]: those with a probability, the
            sigmoid of the logit, of a half and more.
    """
    if multi_label:
        return (logits >= 0).astype(np.int64)
    if metric in ANSWERS:
        return logits[:, ANSWERS[metric]].astype(np.float64)
    if metric in NUMERIC:
        return logits[:, 0].astype(np.float64)
    classes: Array = np.where(np.isnan(logits).any(axis=1), NO_PREDICTION, logits.argmax(axis=1))
    return classes


def same(first: Array, second: Array) -> NDArray[np.bool_]:
    """Whether two predictions of a row are equal, [N] (words for N in tagging); of a multi-label row, all of them."""
    equal: NDArray[np.bool_] = first == second
    return np.asarray(equal.all(axis=1)) if equal.ndim == 2 else equal


def score_predictions(metric: MetricName, split: Split, predicted: Array) -> float:
    """Score predictions [N] (words for N in tagging) against a split's labels; higher is better for every metric.

    f1 is the F1 of the split's positive class, macro-f1 the mean over the classes among the labels (the same for every
    model), micro-f1 that of the labels of all rows together, matthews the correlation of class ids, entity-f1 seqeval's
    micro F1 of entities, ndcg the mean over lists (see `list_scores`), answer-f1 and exact-match the mean over
    questions. The accuracy of several labels counts the rows
    in which all are right. NaN where the metric is undefined (see `why_undefined`).

    Raises:
        ValueError: the predictions are of another kind of task than the labels.
    """
    if predicted.ndim != split.labels.ndim:
        raise ValueError(f"predictions of {predicted.ndim} dimensions, and labels of {split.labels.ndim}")
    if why_undefined(metric, split, predicted):
        return float("nan")
    if metric == "entity-f1":
        return entity_f1(split, predicted)
    if metric == "ndcg":
        return float(np.mean(list_scores(split, predicted)))
    if metric in ANSWERS:
        return float(np.mean(predicted.astype(np.float64)))
    if metric == "f1":
        positive = split.positive
        return float(sklearn_metrics.f1_score(split.labels == positive, predicted == positive, zero_division=0.0))
    return float(_METRICS[metric](split.labels, predicted))


def why_undefined(metric: MetricName, split: Split, predicted: Array | None = None) -> str:
    """Return the reason why a metric has no value on these rows; empty where it has one.

    The labels must have: for accuracy a row, for f1 the positive class, for entity-f1 an entity, for macro-f1 and
    matthews two classes, for the F1 of several labels a row with one, for ndcg a list with different relevances, for
    pearson and spearman two values. Predictions never make a class metric undefined: matthews of a constant prediction
    is 0. A correlation with constant predictions is undefined.

    Args:
        metric: name of the metric.
        split: the rows.
        predicted: [N], [W] for tagging; without it only the labels are checked.
    """
    if not len(split.labels):
        return "there are no rows"
    if split.multi_label:
        return "" if metric == "accuracy" or split.labels.any() else "no row has a label"
    enough, reason = _NEEDS[metric]
    if not enough(split):
        return reason
    if metric not in NUMERIC or metric in ANSWERS or predicted is None:
        return ""
    if not np.isfinite(predicted.astype(np.float64)).all():
        return "a prediction is no finite number"
    return "all predictions are equal" if metric != "ndcg" and not _differ(predicted) else ""


def _differ(values: Array) -> bool:
    return bool((values != values[0]).any())


def _has_entity(split: Split) -> bool:
    names = split.tags or ()
    return any(names[number] != OUTSIDE for number in np.unique(split.labels.astype(np.int64)))


def _rankable(split: Split) -> bool:
    """Whether any list has rows of different relevance.

    Raises:
        ValueError: the rows are in no lists.
    """
    if split.groups is None:
        raise ValueError("a ranking metric needs lists")
    order = np.lexsort((split.labels, split.groups))
    groups, labels = split.groups[order], split.labels[order]
    return bool(((groups[1:] == groups[:-1]) & (labels[1:] != labels[:-1])).any())


def score(metric: MetricName, split: Split, logits: NDArray[np.float32]) -> float:
    """Score logits [N, C] (words for N in tagging) against a split's labels."""
    return score_predictions(metric, split, predictions(metric, logits, multi_label=split.multi_label))


def tag_names(split: Split, ids: Array) -> list[list[str]]:
    """Convert tag ids of all words, [W], to the tag names of each sentence; "O" without a prediction."""
    names = np.array([*(split.tags or ()), OUTSIDE], dtype=object)[ids.astype(np.int64)]
    ends = np.cumsum([len(words) for words in split.texts])[:-1]
    return [sentence.tolist() for sentence in np.split(names, ends)]


def entity_f1(split: Split, predicted: Array) -> float:
    """Compute seqeval's micro-averaged F1 of entities: an entity is right if type, first and last word are right."""
    from seqeval.metrics import f1_score

    truth, predictions = tag_names(split, split.labels), tag_names(split, predicted)
    return float(f1_score(truth, predictions, zero_division=0))


def entity_counts(split: Split, predicted: Array) -> NDArray[np.float64]:
    """Count right, predicted and true entities in each sentence with seqeval, [sentences, 3].

    Their sums t, p, n give the micro F1: 2 t / (p + n).
    """
    from seqeval.metrics.sequence_labeling import get_entities

    counts = np.zeros((len(split), 3))
    pairs = zip(tag_names(split, split.labels), tag_names(split, predicted), strict=True)
    for row, (truth, predicted_tags) in enumerate(pairs):
        true, found = set(get_entities(truth)), set(get_entities(predicted_tags))
        counts[row] = len(true & found), len(found), len(true)
    return counts


def list_scores(split: Split, predicted: Array) -> NDArray[np.float64]:
    """Compute scikit-learn's NDCG (linear gain, ties averaged) of each list with different relevances, [lists].

    A list of one row, or of equally relevant rows, has no wrong order and is left out.

    Raises:
        ValueError: no list is left; loading the data prevents this.
    """
    if split.groups is None:
        raise ValueError("a ranking metric needs lists")
    order = np.argsort(split.groups, kind="stable")
    starts = np.flatnonzero(np.diff(split.groups[order], prepend=-1))
    scores = []
    # scikit-learn's checks of the arrays would take longer than scoring thousands of short lists.
    with config_context(skip_parameter_validation=True, assume_finite=True):
        for rows in np.split(order, starts[1:]):
            relevance = split.labels[rows].astype(np.float64)
            if relevance.min() < relevance.max():
                scores.append(sklearn_metrics.ndcg_score(relevance[None], predicted[rows][None].astype(np.float64)))
    if not scores:
        raise ValueError("no list has rows of different relevance")
    return np.array(scores)


def _macro_f1(labels: Array, predicted: Array) -> float:
    classes = np.unique(labels) if labels.ndim == 1 else np.flatnonzero(labels.any(axis=0))
    return float(sklearn_metrics.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0.0))


_METRICS: dict[MetricName, Callable[[Array, Array], float]] = {
    "accuracy": lambda labels, predicted: float(np.mean(same(labels, predicted))),
    "macro-f1": _macro_f1,
    "micro-f1": lambda labels, predicted: sklearn_metrics.f1_score(
        labels, predicted, average="micro", zero_division=0.0
    ),
    "matthews": sklearn_metrics.matthews_corrcoef,
    "pearson": lambda labels, predicted: stats.pearsonr(labels, predicted).statistic,
    "spearman": lambda labels, predicted: stats.spearmanr(labels, predicted).statistic,
}

# Metric -> requirement on the labels, and the reason of an undefined value.
_NEEDS: dict[MetricName, tuple[Callable[[Split], bool], str]] = {
    "accuracy": (lambda split: True, ""),
    "f1": (lambda split: bool((split.labels == split.positive).any()), "no label is of the positive class"),
    "macro-f1": (lambda split: _differ(split.labels), "all labels are of one class"),
    "matthews": (lambda split: _differ(split.labels), "all labels are of one class"),
    "pearson": (lambda split: _differ(split.labels), "all labels are equal"),
    "spearman": (lambda split: _differ(split.labels), "all labels are equal"),
    "entity-f1": (_has_entity, "no label is part of an entity"),
    "answer-f1": (lambda split: True, ""),
    "exact-match": (lambda split: True, ""),
    "ndcg": (_rankable, "no list has rows of different relevance"),
}
