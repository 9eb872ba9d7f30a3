"""Another network to learn from (`prune.teacher`): where it is, and that it fits task and losses. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from sdp.errors import ModelError, RecipeError
from sdp.losses.needs import matching_rows
from sdp.models.head import KeptHead, fit_head, read_head, unnamed
from sdp.models.parts import encoder_shape
from sdp.models.positions import model_positions
from sdp.models.source import ModelFolder, locate_model
from sdp.pipeline.run_folder import RUN_FILE, STAGE_FILE, RunFolder
from sdp.pipeline.stages import FINETUNE, MODEL_FILES
from sdp.recipe.losses import losses_reading
from sdp.recipe.sections import ModelSection, Recipe

KEY = "prune.teacher"


def locate_teacher(recipe: Recipe, *, download: bool = True) -> ModelFolder:
    """Find the network that `prune.teacher` names, as `locate_model` finds a model; of a run folder its fine-tuned one.

    Args:
        recipe: the recipe, which names one.
        download: False looks only at what is already here.

    Raises:
        RecipeError: the run is not fine-tuned.
        NotDownloadedError: it is not here, and `download` is False.
        ModelError: there is no such model, or it cannot be used.
    """
    name = str(recipe.prune.teacher)
    path = Path(name)
    if path.is_absolute() and any((path / part).exists() for part in (RUN_FILE, FINETUNE.folder)):
        run = RunFolder(path)
        if run.record(FINETUNE.folder) is None:
            hint = f"Fine-tune it first: sdp finetune {path}"
            raise RecipeError("the run has no finished fine-tuning", where=f"{KEY} = {name}", hint=hint)
        name = str(run.stage(FINETUNE.folder))
    return locate_model(ModelSection(name=name), download=download, key=KEY)


def teacher_title(recipe: Recipe) -> str:
    """The teacher's name for readers: of a folder the last part of its path, of a stage's folder the run's too."""
    path = Path(str(recipe.prune.teacher))
    if not path.is_absolute():
        return str(recipe.prune.teacher)
    return "/".join(path.parts[-2:]) if (path / STAGE_FILE).is_file() else path.name


def teacher_identity(recipe: Recipe, *, download: bool = True) -> dict[str, str]:
    """SHA-256 of the files that decide what the teacher computes, by name.

    Raises:
        UsageError: as `locate_teacher`; or it fits no loss, or is too short for the texts.
    """
    folder = locate_teacher(recipe, download=download)
    model = locate_model(recipe.model, download=download)
    width, layers = encoder_shape(model)
    require_fitting_losses(recipe, (width, recipe.prune.layers or layers), encoder_shape(folder))
    limit = model_positions(folder.path)
    if limit is not None and limit < recipe.data.max_length:
        what = f"the teacher can take {limit} tokens, and data.max_length is {recipe.data.max_length}"
        raise RecipeError(what, where=_where(recipe), hint=f"Cut the texts: --set data.max_length={limit}.")
    hashes = folder.identity()
    if (folder.path / STAGE_FILE).is_file():
        # A stage's other files are made anew with the same weights.
        return {name: own for name, own in hashes.items() if any(fnmatch(name, pattern) for pattern in MODEL_FILES)}
    return hashes


def teacher_key(recipe: Recipe) -> str:
    """A short name for what the teacher computes, for its cache."""
    content = json.dumps(teacher_identity(recipe), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def require_fitting_losses(
    recipe: Recipe, own: tuple[int | None, int | None], teachers: tuple[int | None, int | None]
) -> None:
    """Require that the representations which losses compare exist in both networks, with the same width.

    Args:
        recipe: the recipe.
        own: width and number of layers of the model; None where unknown.
        teachers: those of the teacher.

    Raises:
        RecipeError: a loss cannot compare them; the message names the losses that work.
    """
    (width, layers), (its_width, its_layers) = own, teachers
    losses = [loss for loss in recipe.prune.losses if loss.reads == "rows"]
    if not losses or None in (width, its_width):
        return
    if width != its_width:
        what = f"the loss {losses[0].name} compares {width} features of the model with {its_width} of the teacher"
        raise RecipeError(what, where=_where(recipe), hint=f"Losses that work with it: {losses_reading('logits')}.")
    if layers is None or its_layers is None:
        return
    try:
        matching_rows(losses, layers, its_layers)
    except ValueError as error:
        hint = (
            f"The model has {layers} layers, the teacher {its_layers}: name layers of both (layers = [-1] is the last "
            f"of each), or take {losses_reading('logits')}."
        )
        raise RecipeError(str(error), where=_where(recipe), hint=hint) from None


def teacher_head(recipe: Recipe, folder: ModelFolder, labels: Sequence[str]) -> KeptHead:
    """The teacher's trained head, which fits the task.

    Args:
        recipe: the recipe.
        folder: the teacher.
        labels: the data's classes by their number; empty for regression and ranking.

    Raises:
        ModelError: it has none, or one for something else.
    """
    head, where = read_head(folder), f"{KEY}, {folder.path}"
    if head is None:
        hint = "Name a model that is fine-tuned for this task, or a run folder."
        raise ModelError("the teacher has no trained head", where=where, hint=hint)
    problem, order = fit_head(head, recipe.task.problem_type, labels, numbered=recipe.task.known is not None)
    if problem is not None:
        hint = "The teacher must be fine-tuned for this task, with the data's classes in any order."
        if labels and unnamed(head.names):
            hint += " Its classes have no names: write them into id2label of its config.json, in order of its outputs."
        raise ModelError(problem, where=where, hint=hint)
    return KeptHead(head.names, order)


def _where(recipe: Recipe) -> str:
    return f"{KEY} = {recipe.prune.teacher}"
