"""Compare two models class by class: recall and F1, and their differences with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import Split
from sdp.evaluation.metrics import Array
from sdp.pipeline.artifacts.comparison import ClassF1, ClassMeasure, ClassScores
from sdp.statistics.intervals import bootstrap_interval, joint_lows
from sdp_onnx.bench.interval import Interval

Counts = NDArray[np.float64]
# Places of the measures in an array.
_RECALL, _F1 = 0, 1


def by_class(
    split: Split,
    class_names: Sequence[str],
    names: tuple[str, str],
    predicted: tuple[Array, Array],
    *,
    resamples: int,
    seed: int,
) -> list[ClassScores]:
    """Score every class of two models.

    recall = right / true, F1 = 2 right / (predicted + true). The bootstrap resamples the units of the sample: rows, for
    tagging sentences with all their words, and rows that are translations of each other (parts of equal size)
    together. A resample without a label of a class is left out for that class.

    Args:
        split: N rows with labels.
        class_names: the C classes, or tags of words, by id.
        names: names of the reference model (dense) and of the other model.
        predicted: class ids of both, [N], for tagging [W]; -1 without a prediction; for multi-label which labels each
            row gets, [N, C].
        resamples: bootstrap resamples.
        seed: seed of the resamples.

    Returns:
        the scores of each class that occurs among the labels, in the order of ids: recall and F1 of both models, and
        the drop (first - second); of F1 also the drop with a low end that holds for all classes at once (see
        `compare`).
    """
    terms = _terms(split, predicted, len(class_names))
    whole = _measures(terms.sum(axis=0)[None])[0]
    draws = _measures(_resampled(terms, resamples, seed))
    true = terms.sum(axis=0)[0, :, -1]
    lows = joint_lows((whole[0] - whole[1])[true > 0, _F1], (draws[:, 0] - draws[:, 1])[:, true > 0, _F1])
    found = []
    for i, low in zip(np.flatnonzero(true), lows, strict=True):
        recall, f1 = (_measure(names, whole[:, i, m], draws[:, :, i, m]) for m in (_RECALL, _F1))
        drop_of_all = replace(f1.drop, low=float(low)) if isinstance(f1.drop, Interval) else f1.drop
        own = ClassF1(models=f1.models, drop=f1.drop, drop_of_all=drop_of_all)
        found.append(ClassScores(name=class_names[int(i)], rows=int(true[i]), recall=recall, f1=own))
    return found


def _measure(names: tuple[str, str], values: Counts, draws: Counts) -> ClassMeasure:
    """Both models, values [2] and draws [R, 2], and their difference."""
    models = {name: bootstrap_interval(float(values[i]), draws[:, i]) for i, name in enumerate(names)}
    drop = bootstrap_interval(float(values[0] - values[1]), draws[:, 0] - draws[:, 1])
    return ClassMeasure(models=models, drop=drop)


def _terms(split: Split, predicted: tuple[Array, Array], classes: int) -> Counts:
    """Return each unit's counts for two models and C classes: right, predicted, true, [units, 2, C, 3]."""
    unit = _units(split)[split.sentence_of_word]
    terms = np.zeros((int(unit.max(initial=-1)) + 1, 2, classes, 3))
    labels = split.labels.astype(np.int64)
    if split.multi_label:
        for model, answers in enumerate(predicted):
            found = answers.astype(np.int64)
            for place, counts in enumerate((labels * found, found, labels)):
                np.add.at(terms[:, model, :, place], unit, counts)
        return terms
    for model, answers in enumerate(predicted):
        ids = answers.astype(np.int64)
        # -1 is no prediction, not a class.
        some, right = ids >= 0, ids == labels
        np.add.at(terms[:, model, :, 0], (unit[right], labels[right]), 1)
        np.add.at(terms[:, model, :, 1], (unit[some], ids[some]), 1)
        np.add.at(terms[:, model, :, 2], (unit, labels), 1)
    return terms


def _units(split: Split) -> NDArray[np.int64]:
    """Return the unit of each row: the row itself, or its index in its part where all parts have equal size."""
    names, part = np.unique(np.array(split.parts, dtype=object).astype(str), return_inverse=True)
    sizes = np.bincount(part)
    if len(names) < 2 or len(set(sizes.tolist())) > 1:
        return np.arange(len(split))
    order = np.argsort(part, kind="stable")
    place = np.empty(len(split), dtype=np.int64)
    place[order] = np.tile(np.arange(sizes[0]), len(names))
    return place


def _resampled(terms: Counts, resamples: int, seed: int) -> Counts:
    """Draw the counts of R bootstrap resamples, [R, 2, C, 3].

    A resample is given by how often each kind of unit is drawn, which is multinomial; of rows there are few kinds, C^3
    at most.
    """
    kinds, times = np.unique(terms.reshape(len(terms), -1), axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    shares = times / times.sum()
    drawn = [generator.multinomial(len(terms), shares) @ kinds for _ in range(resamples)]
    return np.array(drawn).reshape(resamples, *terms.shape[1:])


def _measures(counts: Counts) -> Counts:
    """Compute recall and F1, [R, 2, C, 2], from counts [R, 2, C, 3]; NaN where a class has no label."""
    right, predicted, true = np.moveaxis(counts, -1, 0)
    recall = np.divide(right, true, out=np.full_like(right, np.nan), where=true > 0)
    f1 = np.divide(2 * right, predicted + true, out=np.full_like(right, np.nan), where=true > 0)
    return np.stack([recall, f1], axis=-1)
