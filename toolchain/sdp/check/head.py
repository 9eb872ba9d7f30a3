"""Check a checkpoint's head before anything is downloaded or trained. No torch."""

from __future__ import annotations

from pathlib import Path

from sdp.data.load import load_task_data
from sdp.data.source import resolve_source
from sdp.models.head import choose_head, read_head
from sdp.models.source import ModelFolder
from sdp.recipe.sections import Recipe


def plan_head(recipe: Recipe, folder: ModelFolder) -> str | None:
    """Describe what happens to the checkpoint's head; empty without a head, None where the data is not downloaded.

    Raises:
        ModelError: the head does not fit the data, or `finetune.epochs = 0` needs a head and there is none.
        DataError: the data cannot be read.
    """
    head = read_head(folder)
    if head is None or recipe.model.head == "new":
        choose_head(recipe, folder, ())
        return "" if head is None else "the checkpoint's head is replaced by a new one"
    labels = _labels(recipe)
    kept = None if labels is None else choose_head(recipe, folder, labels)
    return None if kept is None else kept.line


def _labels(recipe: Recipe) -> tuple[str, ...] | None:
    """Return the classes by id, empty for regression and ranking; None where the data is not downloaded."""
    if recipe.task.problem_type in ("regression", "ranking"):
        return ()
    if recipe.task.known is not None:
        return recipe.task.known.labels
    if recipe.data.docstrings is not None:
        return tuple(sorted(recipe.data.docstrings.packages))
    dataset = resolve_source(recipe).dataset
    here = dataset is None or Path(dataset).is_dir()
    return load_task_data(recipe).label_names if here else None
