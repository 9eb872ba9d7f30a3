"""The metric of two runs: paired where both were scored on the same rows, apart where they were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan

import numpy as np
from numpy.typing import NDArray

from sdp.compare.difference import Difference, outcome_of
from sdp.compare.snapshot import Snapshot
from sdp.data.rows import Split
from sdp.errors import RunError, UsageError
from sdp.evaluation.compare import Logits, compare
from sdp.evaluation.metrics import ANSWERS, NO_PREDICTION, NUMERIC, Array, score_predictions, why_undefined
from sdp.evaluation.scored_rows import read_rows
from sdp.pipeline.artifacts.comparison import Compared
from sdp.pipeline.artifacts.intervals import value_of
from sdp.recipe.benchmark_tasks import MetricName
from sdp.statistics.intervals import bootstrap_interval, joint_lows, resampled_scores
from sdp.statistics.pairs import matching_order
from sdp_onnx.bench.interval import Interval, Undefined

RESAMPLES = 2000


def compare_quality(before: Snapshot, after: Snapshot) -> list[Difference]:
    """The metric over all, and of each part that both have.

    A part is called worse if the low end of its loss, which holds for all parts at once, is above zero.

    Raises:
        UsageError: the runs are of different metrics.
        RunError: the rows of one do not fit the metric.
    """
    metric = before.metric
    if after.metric != metric:
        raise UsageError(f"one run is scored by {metric}, the other by {after.metric}: nothing to compare")
    (first, own), (second, other) = read_rows(before.rows), read_rows(after.rows)
    order = matching_order(before.rows.hashes, after.rows.hashes)
    try:
        if order is None:
            return _apart(metric, (first, own), (second, other), _shared(before, after))
        return _paired(metric, first, own, _reordered(second, other, order), before.part)
    except (ValueError, IndexError) as error:
        what = f"{metric} cannot be computed from the rows of these runs: {error}"
        raise RunError(what, hint="Bring both up to date: sdp export RUN") from None


def _shared(before: Snapshot, after: Snapshot) -> str:
    common = len(set(before.rows.hashes) & set(after.rows.hashes))
    counts = " and ".join(f"{len(run.rows.hashes):,}" for run in (before, after))
    return f"unpaired bootstrap: {counts} rows, {common:,} of them the same"


def _reordered(split: Split, predicted: Array, order: NDArray[np.int64]) -> Array:
    """Predictions of rows, or of the words of rows, in another order of the rows."""
    if split.tags is None:
        return predicted[order]
    starts = np.cumsum([0, *(len(words) for words in split.texts)])
    return np.concatenate([predicted[starts[row] : starts[row + 1]] for row in order])


def _paired(metric: MetricName, split: Split, before: Array, after: Array, part: str | None) -> list[Difference]:
    found = compare(
        metric,
        split,
        ("before", as_logits(metric, before)),
        ("after", as_logits(metric, after)),
        resamples=RESAMPLES,
        seed=0,
        part=part,
    )
    tested = f"; {found.test.name} p = {found.test.p:.3g}" if found.test.p is not None else ""
    how = f"paired: the same {len(split):,} rows{tested}"
    rows = [_by_drop(f"{metric} on {split.name}", _values(found), found.drop, how)]
    for name, own in found.parts.items():
        how = "paired; low end for all parts at once"
        rows.append(_by_drop(f"{metric}, {name}", _values(own), own.drop_of_all, how))
    return rows


def _values(compared: Compared) -> list[float | None]:
    return [value_of(compared.models[name]) for name in ("before", "after")]


def _apart(metric: MetricName, before: tuple[Split, Array], after: tuple[Split, Array], how: str) -> list[Difference]:
    """Each run's rows are drawn by themselves; where rows are shared the interval is rather too wide."""
    (first, first_draws), (second, second_draws) = (_scores(metric, *run, i) for i, run in enumerate((before, after)))
    common = [name for name in first if name in second]
    if common and first.keys() != second.keys():
        # Means over different languages differ without any change of the model.
        first, second = ({name: own[name] for name in common} for own in (first, second))
        first_draws, second_draws = ({name: own[name] for name in common} for own in (first_draws, second_draws))
        how += f"; mean over the parts that both have ({len(common)})"
    means = [float(np.mean(list(values.values()))) for values in (first, second)]
    draws = [np.mean(list(own.values()), axis=0) for own in (first_draws, second_draws)]
    reason = next(filter(None, (why_undefined(metric, *run) for run in (before, after))), "it is on a part of them")
    whole = bootstrap_interval(means[0] - means[1], draws[0] - draws[1], reason)
    rows = [_by_drop(f"{metric} on {after[0].name}", means, whole, how)]
    if len(common) < 2:
        return rows
    drops = np.array([first[name] - second[name] for name in common])
    resampled = np.stack([first_draws[name] - second_draws[name] for name in common], axis=1)
    for place, low in enumerate(joint_lows(drops, resampled)):
        name, drop = common[place], bootstrap_interval(float(drops[place]), resampled[:, place])
        joint = replace(drop, low=float(low)) if isinstance(drop, Interval) else drop
        rows.append(_by_drop(f"{metric}, {name}", [first[name], second[name]], joint, "unpaired"))
    return rows


def _scores(
    metric: MetricName, split: Split, predicted: Array, seed: int
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """Score and draws of each part; NaN where it is undefined."""
    values, draws = {}, {}
    for number, name in enumerate(dict.fromkeys(split.parts)):
        mask = np.array([part == name for part in split.parts])
        own, found = split.where(mask), predicted[split.predictions_in(mask)]
        values[name] = score_predictions(metric, own, found)
        draws[name] = resampled_scores(metric, own, [found], RESAMPLES, (seed, number))[:, 0]
    return values, draws


def as_logits(metric: MetricName, predicted: Array) -> Logits:
    """Logits that a metric takes for these predictions: [N, 1] scores ([N, 2] of answers), or [N, C] with a one at the
    class or label."""
    if predicted.ndim == 2:
        return (2 * predicted - 1).astype(np.float32)
    if metric in ANSWERS:
        return np.tile(predicted.astype(np.float32)[:, None], (1, len(ANSWERS)))
    if metric in NUMERIC:
        return predicted.astype(np.float32)[:, None]
    ids = predicted.astype(np.int64)
    logits = np.zeros((len(ids), max(2, int(ids.max(initial=0)) + 1)), dtype=np.float32)
    logits[np.arange(len(ids)), np.maximum(ids, 0)] = 1
    logits[ids == NO_PREDICTION] = np.nan
    return logits


def _by_drop(what: str, values: Sequence[float | None], drop: Interval | Undefined, how: str) -> Difference:
    """A row of the comparison; values that are None or NaN are undefined."""
    values = [None if value is None or isnan(value) else value for value in values]
    if isinstance(drop, Undefined):
        return Difference(what, values[0], values[1], "not compared", f"undefined: {drop.reason}", undefined=True)
    change, low, high = -drop.value, -drop.high, -drop.low
    outcome = outcome_of(low, high, 0, higher_is_better=True)
    return Difference(what, values[0], values[1], outcome, how, change, low, high)
