"""Statistics of parallel rows: row i of every language is the same item, and is drawn together with its translations.

Whether a model has item i right in language l is r_l,i. Accuracies, drops, averages over languages and differences of
drops are all means over items of one number an item, so one bootstrap over items serves them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sdp.statistics.intervals import bootstrap_interval
from sdp_onnx.bench.interval import Interval, Undefined

ByItem = NDArray[np.float64]
"""One number an item, [N]."""
Right = Mapping[str, ByItem]
"""Language -> 1 where the model has the item right, otherwise 0; means of those over seeds, [N]."""
RESAMPLES = 2000


def mean_intervals(columns: Mapping[str, ByItem], resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Return the mean of each column with its 95 % percentile bootstrap interval, all from the same resampled items.

    Args:
        columns: name -> one number an item, [N].
        resamples: number of resamples, each N items drawn with replacement.
        seed: of the draws.

    Raises:
        ValueError: a column holds NaN.
    """
    values = np.stack(list(columns.values()), axis=1)
    items, generator = len(values), np.random.default_rng(seed)
    draws = np.empty((resamples, len(columns)))
    for draw in draws:
        times = np.bincount(generator.integers(0, items, items), minlength=items)
        draw[:] = times @ values / items
    found = {}
    for place, (name, value) in enumerate(zip(columns, values.mean(axis=0), strict=True)):
        interval = bootstrap_interval(float(value), draws[:, place])
        if isinstance(interval, Undefined):
            raise ValueError(f"{name}: {interval.reason}")
        found[name] = interval
    return found


def drops(dense: Right, pruned: Right) -> dict[str, ByItem]:
    """Return r_l,i of the dense model less that of the pruned one, by language; positive is a loss."""
    return {language: right - pruned[language] for language, right in dense.items()}


def average(columns: Mapping[str, ByItem], languages: Iterable[str]) -> ByItem:
    """Return the mean over some languages, item by item, [N]."""
    return np.asarray(np.mean([columns[language] for language in languages], axis=0))


def zero_shot(languages: Iterable[str], trained: str) -> tuple[str, ...]:
    """Return the languages that are not trained on."""
    return tuple(language for language in languages if language != trained)


def zero_shot_gap(dense: Right, pruned: Right, trained: str) -> ByItem:
    """Return what the zero-shot average loses beyond the trained language, item by item, [N].

    With d_l,i the drop: mean over l != trained of d_l,i, less d_trained,i. Its mean over items is positive where
    pruning hurts zero-shot transfer more than the supervised language (arXiv 2204.01385).
    """
    lost = drops(dense, pruned)
    return np.asarray(average(lost, zero_shot(lost, trained)) - lost[trained])
