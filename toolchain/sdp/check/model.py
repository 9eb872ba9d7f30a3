"""What `sdp check` reports of the model before any download: its head, and what is known of its architecture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sdp.check.facts import Facts, Finding
from sdp.data.load import load_task_data
from sdp.data.source import resolve_source
from sdp.models.architectures import find_architecture
from sdp.models.head import choose_head, read_head
from sdp.models.pooling import choose_pooling
from sdp.models.source import ModelFolder
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.sections import Recipe


def plan_head(recipe: Recipe, folder: ModelFolder) -> str | None:
    """Describe what happens to the checkpoint's head; empty without a head, None where the data is not downloaded.

    Raises:
        ModelError: the head does not fit the data, or `finetune.epochs = 0` needs a head and there is none.
        DataError: the data cannot be read.
    """
    if recipe.task.problem_type == "embedding":
        pooling = choose_pooling(recipe, folder.path)
        scaled = ", scaled to length 1" if pooling.normalized else ""
        prompt = pooling.default_prompt
        unread = f'; texts are read as they stand, without its default prompt "{prompt}"' if prompt else ""
        return f"vectors: the {pooling.kind} of the last layer's tokens{scaled}{unread}"
    head = read_head(folder)
    if head is None or recipe.model.head == "new":
        choose_head(recipe, folder, ())
        return "" if head is None else "the checkpoint's head is replaced by a new one"
    labels = data_labels(recipe)
    kept = None if labels is None else choose_head(recipe, folder, labels)
    return None if kept is None else kept.line


def data_labels(recipe: Recipe) -> tuple[str, ...] | None:
    """Return the classes by id, empty for regression and ranking; None where the data is not downloaded."""
    if recipe.task.has_no_classes:
        return ()
    if recipe.task.known is not None:
        return recipe.task.known.labels
    if recipe.data.docstrings is not None:
        return tuple(sorted(recipe.data.docstrings.packages))
    dataset = resolve_source(recipe).dataset
    here = dataset is None or Path(dataset).is_dir()
    return load_task_data(recipe).label_names if here else None


_SUBJECT = "model.name"


def architecture_findings(facts: Facts) -> Iterator[Finding]:
    """Findings on the architecture; none where the model is not on this machine yet."""
    kind = facts.model_type
    if kind is None:
        return
    row, criterion = find_architecture(kind), facts.recipe.prune.criterion
    if row is None:
        what = f"sdp has no row for {kind} models: whether all their matrices can be pruned is found when one is loaded"
        yield Finding("note", _SUBJECT, what)
        return
    if not row.tested:
        yield Finding("note", _SUBJECT, f"no {kind} model has gone through the whole pipeline in the project's tests")
    if CRITERIA[criterion].needs_paired_layers and not row.lookahead:
        what = f"{criterion} pairs six matrices of a layer, and the layers of {kind} models are made otherwise"
        yield Finding("warning", "prune.criterion", what, "another criterion, such as magnitude.")
    on_library = facts.machine.library and facts.recipe.export.may_use_library
    if on_library and facts.recipe.bench.provider == "cpu" and not row.packed_attention:
        what = f"the attention of {kind} models stays with onnxruntime: the operator library has no pattern for it"
        yield Finding("note", _SUBJECT, what)
