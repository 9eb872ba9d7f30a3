"""Compare two models on the evaluation split with the recipe's settings, for evaluate and export."""

from __future__ import annotations

from sdp.data.batches import TokenizedSplit
from sdp.data.rows import Split, TaskData
from sdp.evaluation.by_class import by_class
from sdp.evaluation.compare import Logits, compare
from sdp.evaluation.metrics import NUMERIC, predictions
from sdp.pipeline.artifacts.comparison import ClassScores, SplitComparison
from sdp.recipe.sections import Recipe


def compare_models(
    recipe: Recipe,
    data: TaskData,
    split: Split,
    rows: TokenizedSplit,
    first: tuple[str, Logits],
    second: tuple[str, Logits],
) -> SplitComparison:
    """Compare two models with the task's metrics.

    Args:
        recipe: has metrics, resamples and seed.
        data: the task's data, with its parts.
        split: the N rows that both models were run on.
        rows: the same rows, tokenized.
        first: name and logits ([N, C], for tagging of the words) of the reference model.
        second: name and logits of the other model.

    Returns:
        what `compare` returns, with `classes`, the same by class or tag (see `by_class`; empty for regression and
        ranking), `classes_without_rows`, the names of those that no label has, and `unread_words`, the words that the
        length limit cuts off.
    """
    metric = recipe.task.score
    found = compare(
        metric,
        split,
        first,
        second,
        resamples=recipe.evaluate.resamples,
        seed=recipe.seed,
        also=recipe.task.also,
        part=data.part,
        trained=data.choices,
    )
    classes: list[ClassScores] = []
    if metric not in NUMERIC:
        own, other = (predictions(metric, logits, multi_label=split.multi_label) for _, logits in (first, second))
        names, resamples = (first[0], second[0]), recipe.evaluate.resamples
        classes = by_class(split, data.label_names, names, (own, other), resamples=resamples, seed=recipe.seed)
    labelled = {scores.name for scores in classes}
    missing = [name for name in data.label_names if name not in labelled] if metric not in NUMERIC else []
    return SplitComparison(
        **found.given(), classes=tuple(classes), classes_without_rows=tuple(missing), unread_words=rows.unread
    )
