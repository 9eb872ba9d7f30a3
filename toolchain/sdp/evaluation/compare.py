"""Compare two models on the same rows: scores with intervals, the drop and a paired test, in total and by part.

If a split has parts (languages, or subsets such as MNLI's), its score is the mean over them, as in the benchmarks. The
zero-shot average is the mean without the training languages. The mean is undefined if the metric is undefined on any
part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import Split
from sdp.evaluation.constant_set import constant_set
from sdp.evaluation.metrics import ANSWERS, NUMERIC, OUTSIDE, Array, predictions, same, score_predictions, why_undefined
from sdp.pipeline.artifacts.comparison import Average, Comparison, ConstantBaseline, MetricScores, PartScores
from sdp.pipeline.artifacts.intervals import value_of
from sdp.recipe.benchmark_tasks import MetricName
from sdp.statistics.intervals import (
    bootstrap_interval,
    joint_lows,
    mcnemar,
    paired_bootstrap_test,
    resampled_scores,
)
from sdp_onnx.bench.interval import Interval, Undefined

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class _Scored:
    """One metric of two models on some rows: values, [2], bootstrap draws, [R, 2], and the reasons of NaN values."""

    values: NDArray[np.float64]
    draws: NDArray[np.float64]
    reasons: tuple[str, ...]

    @staticmethod
    def mean(parts: Mapping[str, _Scored]) -> _Scored:
        """Average parts, draw by draw."""
        reasons = tuple(
            next((f"on {name} {part.reasons[i]}" for name, part in parts.items() if part.reasons[i]), "")
            for i in range(2)
        )
        values, draws = ([getattr(part, name) for part in parts.values()] for name in ("values", "draws"))
        return _Scored(np.mean(values, axis=0), np.mean(draws, axis=0), reasons)

    def drop(self) -> Interval | Undefined:
        """Return the first value minus the second."""
        reason = next(filter(None, self.reasons), "")
        return bootstrap_interval(float(self.values[0] - self.values[1]), self.draws[:, 0] - self.draws[:, 1], reason)

    def scores(self, names: tuple[str, str]) -> MetricScores:
        """Return both scores and the drop with their intervals, and the bootstrap test of "no drop"."""
        models = {
            name: bootstrap_interval(float(self.values[i]), self.draws[:, i], self.reasons[i])
            for i, name in enumerate(names)
        }
        test = paired_bootstrap_test(self.draws[:, 0] - self.draws[:, 1])
        return MetricScores(models=models, drop=self.drop(), test=test)


@dataclass(frozen=True)
class _Part:
    """Some rows of a split with the predictions of two models, and the number and seed of the resamples."""

    split: Split
    predicted: dict[MetricName, list[Array]]
    resamples: int
    seed: tuple[int, ...]

    def scored(self, metric: MetricName) -> _Scored:
        predicted = self.predicted[metric]
        values = np.array([score_predictions(metric, self.split, p) for p in predicted])
        draws = resampled_scores(metric, self.split, predicted, self.resamples, self.seed)
        return _Scored(values, draws, tuple(why_undefined(metric, self.split, p) for p in predicted))

    def scores(
        self, scored: dict[MetricName, _Scored], metric: MetricName, names: tuple[str, str], joint_low: float
    ) -> PartScores:
        labels, (first, second) = self.split.labels, self.predicted[metric]
        fields = _all_metrics(scored, metric, names)
        # Errors are independent between rows, not between the words of a sentence.
        if metric == "accuracy" and self.split.tags is None:
            fields["test"] = mcnemar(same(labels, first), same(labels, second))
        drop = scored[metric].drop()
        return PartScores(
            rows=len(self.split),
            **fields,
            flips=None if metric in NUMERIC else int(np.sum(~same(first, second))),
            drop_of_all=replace(drop, low=joint_low) if isinstance(drop, Interval) else drop,
        )


def compare(
    metric: MetricName,
    split: Split,
    first: tuple[str, Logits],
    second: tuple[str, Logits],
    *,
    resamples: int,
    seed: int,
    also: Sequence[MetricName] = (),
    part: str | None = None,
    trained: Sequence[str] = (),
) -> Comparison:
    """Compare two models on a split.

    Args:
        metric: the task's metric.
        split: N rows with labels.
        first: name and logits ([N, C], for tagging of the words) of the reference model (dense).
        second: name and logits of the other (pruned, exported).
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.
        also: further metrics to report.
        part: the kind of the split's parts, "language" or "subset".
        trained: the training languages.

    Returns:
        `models`, `drop` (first - second; positive is a loss), `test`, `flips` (of so many `predictions`: one a row, for
        tagging one a word), the same for other metrics in `also` and for each part in `parts` (empty where the rows
        have none), and in `averages` the mean over "all" parts, which is the score itself (`mean_over` has their
        number), and over the "zero-shot" ones. A part's `drop_of_all` is its drop with a low end that holds for all
        parts at once: whoever looks for the worst of many finds one that looks bad by chance. For "no part lost too
        much" the high end is right as it is.
    """
    names, metrics = (first[0], second[0]), (metric, *also)
    predicted = {
        m: [predictions(m, own, multi_label=split.multi_label) for own in (first[1], second[1])] for m in metrics
    }
    parts = _parts(split, predicted, resamples, seed)
    scored = {name: {m: rows.scored(m) for m in metrics} for name, rows in parts.items()}
    lows = _joint_lows([own[metric] for own in scored.values()])
    named = {
        name: rows.scores(scored[name], metric, names, low)
        for (name, rows), low in zip(parts.items(), lows, strict=True)
    }
    over = None if list(parts) == [""] else f"{len(parts)} {part or 'part'}{'s' * (len(parts) > 1)}"
    counts = {"rows": len(split), "predictions": len(split.labels)}
    whole: dict[str, Any] = {"split": split.name, "metric": metric, **counts, "mean_over": over}
    if over is None:
        return Comparison(**{**named[""].given(), **whole}, part=None, parts={}, averages={})
    groups = {"all": tuple(parts)}
    if part == "language":
        groups["zero-shot"] = tuple(name for name in parts if name not in trained)
    averages = {kind: _average(members, scored, metric, names) for kind, members in groups.items() if members}
    flips = [own.flips for own in named.values() if own.flips is not None]
    overall = {name: value for name, value in averages["all"].given().items() if name != "over"}
    return Comparison(
        **whole,
        **overall,
        flips=sum(flips) if len(flips) == len(named) else None,
        part=part,
        parts=named,
        averages=averages,
    )


def _average(
    members: tuple[str, ...],
    scored: Mapping[str, Mapping[MetricName, _Scored]],
    metric: MetricName,
    names: tuple[str, str],
) -> Average:
    """Return the mean over some parts, in every metric."""
    metrics = scored[members[0]]
    means = {m: _Scored.mean({name: scored[name][m] for name in members}) for m in metrics}
    return Average(over=members, **_all_metrics(means, metric, names))


def _parts(split: Split, predicted: dict[MetricName, list[Array]], resamples: int, seed: int) -> dict[str, _Part]:
    """Return the parts of a split by name, in the order in which they occur.

    Parts of equal size have the same seed: rows that are translations of each other, as in XNLI, are then drawn
    together, as they must be; for unrelated rows it makes no difference.
    """
    names = list(dict.fromkeys(split.parts))
    masks = {name: np.array([part == name for part in split.parts]) for name in names}
    splits = {name: split.where(mask) if len(names) > 1 else split for name, mask in masks.items()}
    parallel = split.groups is None and len({len(own) for own in splits.values()}) == 1
    return {
        name: _Part(
            splits[name],
            {metric: [p[split.predictions_in(masks[name])] for p in both] for metric, both in predicted.items()},
            resamples,
            (seed,) if parallel else (seed, number),
        )
        for number, name in enumerate(names)
    }


def _joint_lows(parts: Sequence[_Scored]) -> list[float]:
    values = np.array([part.values[0] - part.values[1] for part in parts])
    draws = np.stack([part.draws[:, 0] - part.draws[:, 1] for part in parts], axis=1)
    return [float(low) for low in joint_lows(values, draws)]


def _all_metrics(scored: dict[MetricName, _Scored], metric: MetricName, names: tuple[str, str]) -> dict[str, Any]:
    """Fields of a record: the scores of the metric itself, and the others in "also"."""
    others = {name: own.scores(names) for name, own in scored.items() if name != metric}
    return {**scored[metric].scores(names).given(), "also": others}


def against_constant(
    metric: MetricName, split: Split, class_names: Sequence[str], logits: Logits, *, resamples: int, seed: int
) -> ConstantBaseline:
    """Compare a model with one answer for all rows, on the same rows.

    The answer is the most frequent class (for tagging, tag); for f1 the positive class, the best constant answer; for
    entity-f1 "O"; for question answering no answer; for multi-label the best set of labels (see `constant_set`); for
    ranking equal scores, whose score is the mean over all orders. The correlation of equal scores is undefined: for
    pearson and spearman the model is compared with 0.

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
    if split.answers is not None:
        right = [not own for own in split.answers.of_rows]
        constant[:, list(ANSWERS.values())] = np.array(right, np.float32)[:, None]
        return "never answering", constant
    if metric in NUMERIC:
        return "equal scores for all rows", constant
    if split.multi_label:
        chosen_set = constant_set(metric, split.labels)
        names = ", ".join(f'"{class_names[i]}"' for i in chosen_set)
        constant[:] = -1
        constant[:, chosen_set] = 1
        return f"always answering {names or 'no label'}", constant
    chosen = int(np.bincount(split.labels.astype(np.int64)).argmax())
    if metric == "f1":
        chosen = split.positive
    elif metric == "entity-f1" and OUTSIDE in class_names:
        chosen = list(class_names).index(OUTSIDE)
    constant[:, chosen] = 1
    verb = "tagging every word" if split.tags is not None else "always answering"
    return f'{verb} "{class_names[chosen]}"', constant
