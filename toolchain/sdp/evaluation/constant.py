"""Compare a model with one answer for all rows, the score of a model that learned nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdp.data.rows import Split
from sdp.evaluation.compare import Logits, compare
from sdp.evaluation.metrics import NUMERIC, OUTSIDE
from sdp.pipeline.artifacts.comparison import ConstantBaseline
from sdp.pipeline.artifacts.intervals import value_of
from sdp.recipe.benchmark_tasks import MetricName


def against_constant(
    metric: MetricName, split: Split, class_names: Sequence[str], logits: Logits, *, resamples: int, seed: int
) -> ConstantBaseline:
    """Compare a model with one answer for all rows, on the same rows.

    The answer is the most frequent class (for tagging, tag); for f1 the positive class, the best constant answer; for
    entity-f1 "O"; for ranking equal scores, whose score is the mean over all orders. The correlation of equal scores is
    undefined: for pearson and spearman the model is compared with 0.

    Args:
        metric: the task's metric.
        split: N rows with labels.
        class_names: classes or tags by id; empty for regression and ranking.
        logits: the model's logits, [N, C], or [W, C] for the words of tagging.
        resamples: bootstrap resamples.
        seed: seed of the resamples.

    Returns:
        the answer in words, its score, and what the model's score is above that, with a paired interval.
    """
    if metric in ("pearson", "spearman"):
        found = compare(metric, split, ("model", logits), ("again", logits), resamples=resamples, seed=seed)
        return ConstantBaseline(answer="equal scores for all rows", value=0.0, gain=found.models["model"])
    answer, constant = _constant(metric, split, class_names, logits)
    found = compare(metric, split, ("model", logits), ("constant", constant), resamples=resamples, seed=seed)
    return ConstantBaseline(answer=answer, value=value_of(found.models["constant"]), gain=found.drop)


def _constant(metric: MetricName, split: Split, class_names: Sequence[str], logits: Logits) -> tuple[str, Logits]:
    """Return a description of the answer, and its logits in the model's shape."""
    constant = np.zeros_like(logits)
    if metric in NUMERIC:
        return "equal scores for all rows", constant
    chosen = int(np.bincount(split.labels.astype(np.int64)).argmax())
    if metric == "f1":
        chosen = split.positive
    elif metric == "entity-f1" and OUTSIDE in class_names:
        chosen = list(class_names).index(OUTSIDE)
    constant[:, chosen] = 1
    verb = "tagging every word" if split.tags is not None else "always answering"
    return f'{verb} "{class_names[chosen]}"', constant
