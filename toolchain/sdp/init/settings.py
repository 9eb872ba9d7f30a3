"""All settings of a new recipe, and a line on each that a person may want to know the reason of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sdp.check.facts import this_machine
from sdp.check.lengths import sampled_lengths
from sdp.check.thresholds import half_width
from sdp.data.rows import SplitName
from sdp.init.choose import epochs_for, largest_drop, max_length_of, metric_of, model_for
from sdp.init.model import KnownModel, known_model
from sdp.init.recipe_text import Settings
from sdp.init.rows import LabelledRows

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
    """Choose everything that the recipe says.

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
