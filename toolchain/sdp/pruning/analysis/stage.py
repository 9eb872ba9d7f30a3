"""The pruning stage's analysis: made from the recipe before training, written down after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from sdp.data.batches import Collator, with_unread
from sdp.data.rows import Split
from sdp.evaluation.metrics import score
from sdp.pipeline.artifacts.analysis import AnalysisSummary
from sdp.pruning.analysis.document import analysis_report
from sdp.pruning.analysis.probe import Probe, affordable_rows, points_between, sample_rows
from sdp.pruning.analysis.recorder import PruningAnalysis
from sdp.pruning.mask_updates import mask_plan
from sdp.recipe.sections import Recipe
from sdp.training.inputs import tokenize_split
from sdp_onnx.deploy.tokenization import TextTokenizer

# Few rows of like length: little padding, which would cost more than a larger batch gains.
BATCH_SIZE = 16


def start_analysis(
    recipe: Recipe, model: PreTrainedModel, dev: Split, tokenizer: TextTokenizer, steps: int
) -> PruningAnalysis | None:
    """Read the teacher, and prepare to read the student.

    Args:
        recipe: the recipe.
        model: the student before its first step, which is still the teacher.
        dev: the rows that a sample is taken of.
        tokenizer: the model's.
        steps: optimizer steps of the run.

    Returns:
        the analysis, or None where the recipe turns it off.
    """
    settings, prune, kind = recipe.analysis, recipe.prune, recipe.task.problem_type
    # Vectors and places in a text are no classes to separate.
    if settings.rows == 0 or kind in ("embedding", "question-answering"):
        return None
    updates = mask_plan(prune, steps)
    points = points_between(updates, steps, settings.between)
    wanted = settings.rows
    if wanted is None:
        wanted = affordable_rows(steps * prune.batch_size, looks=2 * len(updates) + len(points))
    # The rows of a list are ranked together.
    groups = np.arange(len(dev)) if dev.groups is None else dev.groups
    chosen = np.zeros(len(dev), dtype=bool)
    chosen[sample_rows(groups, wanted)] = True
    sample = dev.where(chosen)
    rows = tokenize_split(sample, tokenizer, recipe)
    probe = Probe(
        model,
        rows,
        Collator(tokenizer),
        BATCH_SIZE,
        lambda logits: score(recipe.task.score, sample, with_unread(rows, logits)),
    )
    return PruningAnalysis(probe, points, classes=kind in ("classification", "tagging"))


def write_analysis(
    recipe: Recipe, analysis: PruningAnalysis, log: Sequence[Mapping[str, Any]], target: Path
) -> AnalysisSummary:
    """Write analysis.json.

    Returns:
        what metrics.json repeats of it.
    """
    report = analysis_report(
        log,
        analysis.teacher,
        metric=recipe.task.score,
        rows=analysis.rows,
        representation="token" if recipe.task.problem_type == "tagging" else "mean",
    )
    report.store(target)
    return report.summary()
