"""Which network a pruning learns from: its unpruned self, or the one that the recipe names; stored or live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.rows import TaskData
from sdp.data.rows_on_disk import Texts
from sdp.distributed.collectives import rank_count, this_rank
from sdp.losses.needs import live_teacher, matching_rows
from sdp.losses.objective import Objective
from sdp.losses.task import predicts_scores
from sdp.models.layers import layer_count
from sdp.models.load import load_finetuned
from sdp.pipeline.artifacts.pruning import TeacherMetrics
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import CACHE, STAGE_FILE
from sdp.pipeline.stages import FINETUNE
from sdp.pruning.other_teacher import (
    OtherNetwork,
    OtherTeacher,
    OwnTokens,
    load_other,
    on_another_scale,
    require_known_pieces,
    require_same_tokens,
)
from sdp.pruning.teacher import CachedTeacher, LiveTeacher, Teacher
from sdp.pruning.teacher_cache import TeacherCache, cached_teacher
from sdp.pruning.teacher_source import require_fitting_losses, teacher_key, teacher_title
from sdp.recipe.sections import Recipe
from sdp.training.device import trains_in_bf16
from sdp.training.inputs import rows_to_learn
from sdp_onnx.deploy.tokenization import TextTokenizer


@dataclass(frozen=True)
class Student:
    """The network that will be pruned, and what it learns from.

    Attributes:
        model: the network, on the device of the training.
        objective: its losses.
        tokenizer: its own.
        rows: the rows that it learns from, tokenized.
        data: the task's data, its classes in the order of the network's outputs.
        unlabeled: the texts of the rows without labels.
    """

    model: PreTrainedModel
    objective: Objective
    tokenizer: TextTokenizer
    rows: TokenizedSplit
    data: TaskData
    unlabeled: Sequence[Texts]


def choose_teacher(context: StageContext, student: Student) -> tuple[Teacher | None, TeacherMetrics | None]:
    """Return the teacher, None where no loss needs one; and of another network, on the first rank, its metric.

    Raises:
        UsageError: the network that the recipe names does not fit.
    """
    if context.recipe.prune.teacher is not None:
        return _other_teacher(context, student)
    if not student.objective.needs_teacher:
        return None, None
    source = context.run.stage(FINETUNE.folder)
    record = read_json(source / STAGE_FILE) or {}
    key = str(record["outputs"]["model.safetensors"]["sha256"])[:16]
    model, collator = load_finetuned(source, student.model.device), Collator(student.tokenizer)
    layers, dense = layer_count(student.model), layer_count(model)
    if layers == dense:
        return _cached_or_live(context, model, student.objective, student.rows, collator, key), None
    objective = _objective(context.recipe, dense)
    teacher = _cached_or_live(context, model, objective, student.rows, collator, key)
    own_rows = matching_rows(context.recipe.prune.losses, layers, dense)
    return OtherTeacher(_on_own_tokens(teacher, student.rows, collator, objective), own_rows, None), None


def _objective(recipe: Recipe, layers: int) -> Objective:
    """The recipe's losses for a network of so many layers."""
    return Objective(recipe.task.problem_type, recipe.prune.losses, layers, labels=recipe.prune.learns_labels)


def _on_own_tokens(
    teacher: CachedTeacher | LiveTeacher, rows: TokenizedSplit, collator: Collator, objective: Objective
) -> Teacher:
    """The teacher, so that a live one also gives the rows that losses read, on the tokens of its tokenizer."""
    return OwnTokens(teacher, rows, collator, objective.rows) if isinstance(teacher, LiveTeacher) else teacher


def _cached_or_live(
    context: StageContext,
    model: PreTrainedModel,
    objective: Objective,
    rows: TokenizedSplit,
    collator: Collator,
    key: str,
) -> CachedTeacher | LiveTeacher:
    recipe, device, width = context.recipe, model.device, int(model.config.hidden_size)
    too_much = live_teacher(objective.token_outputs, rows.tokens, width, recipe.runtime.teacher_cache_gb)
    # Each of several processes would need the tokens of all rows.
    if too_much or (objective.token_outputs and rank_count() > 1):
        return LiveTeacher(model, objective, bf16=trains_in_bf16(recipe.prune, device))
    cache = TeacherCache(context.run.path / CACHE, key)
    return cached_teacher(model, rows, collator, objective, cache, device, context.reporter)


def _other_teacher(context: StageContext, student: Student) -> tuple[Teacher, TeacherMetrics | None]:
    recipe, losses = context.recipe, context.recipe.prune.losses
    network = load_other(recipe, student.data, student.model.device)
    layers, its_layers = layer_count(student.model), layer_count(network.model)
    widths = [int(model.config.hidden_size) for model in (student.model, network.model)]
    require_fitting_losses(recipe, (widths[0], layers), (widths[1], its_layers))
    objective = _objective(recipe, its_layers)
    rows = rows_to_learn(recipe, student.data, student.unlabeled, network.tokenizer)
    require_known_pieces(network, rows.rows)
    if objective.token_outputs:
        require_same_tokens(recipe, student.rows.rows, rows.rows, student.tokenizer, network.tokenizer)
    metrics = _measured(context, network) if this_rank() == 0 else None
    collator = Collator(network.tokenizer)
    teacher = _cached_or_live(context, network.model, objective, rows, collator, teacher_key(recipe))
    own_rows = matching_rows(losses, layers, its_layers)
    return OtherTeacher(_on_own_tokens(teacher, rows, collator, objective), own_rows, network.classes), metrics


def _measured(context: StageContext, network: OtherNetwork) -> TeacherMetrics:
    """The other network on dev, beside the fine-tuned one: of a bad student, a bad teacher is the first suspicion."""
    recipe, title = context.recipe, teacher_title(context.recipe)
    metric = network.dev_metric(recipe)
    dev, undefined = metric.measured()
    dense = FinetuneMetrics.load(context.run).dev
    its, own = ("undefined" if value is None else f"{value:.4g}" for value in (dev, dense))
    context.reporter.line(f"  the teacher is {title}: {recipe.task.score} {its} on dev, the fine-tuned network {own}")
    if predicts_scores(recipe.task.problem_type):
        labels = network.data.development.labels.astype(np.float32)
        if on_another_scale(metric.logits(), labels):
            context.reporter.line(
                "  warning: its scores are farther from dev's labels than their mean is: another scale?"
            )
    return TeacherMetrics(name=title, dev=dev, undefined=undefined, dense=dense)
