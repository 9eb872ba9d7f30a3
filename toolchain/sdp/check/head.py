"""What `sdp check` finds out about a checkpoint's head, before anything is downloaded or trained. No torch."""

from __future__ import annotations

from pathlib import Path

from sdp.data.load import load_task_data
from sdp.data.source import resolve_source
from sdp.models.head import choose_head, read_head
from sdp.models.source import ModelFolder
from sdp.recipe.sections import Recipe


def plan_head(recipe: Recipe, folder: ModelFolder) -> str | None:
    """What becomes of the checkpoint's trained head; empty where it has none, None where the data is not here yet.

    Raises:
        ModelError: the head does not fit the data, or `finetune.epochs = 0` wants one and there is none.
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
    """The classes by their number, empty for regression and ranking; None where only a download can show them."""
    if recipe.task.problem_type in ("regression", "ranking"):
        return ()
    if recipe.task.known is not None:
        return recipe.task.known.labels
    if recipe.data.docstrings is not None:
        return tuple(sorted(recipe.data.docstrings.packages))
    dataset = resolve_source(recipe).dataset
    here = dataset is None or Path(dataset).is_dir()
    return load_task_data(recipe).label_names if here else None
