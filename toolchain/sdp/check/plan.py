"""The plan that `sdp check` prints: data, stages, steps, time, parameters and bytes. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sdp.check.duration import DurationEstimate
from sdp.check.facts import Facts, Finding, TeacherFacts, this_machine
from sdp.check.findings import explain
from sdp.check.forecast import FLOAT_BYTES, float_bytes, product, stored_as, stored_bytes
from sdp.check.model import plan_head
from sdp.check.rows import Rows, input_texts, read_rows, sampled_lengths, sampled_windows
from sdp.check.stage_times import stage_times, time_left
from sdp.check.teacher import read_teacher
from sdp.data.profile import DataProfile
from sdp.errors import NotDownloadedError
from sdp.models.architectures import model_type, require_architecture
from sdp.models.parts import ModelParts, count_parts, encoder_shape, require_more_layers
from sdp.models.positions import model_positions, require_positions
from sdp.models.source import ModelFolder, locate_model
from sdp.models.unmatched_weights import refuse_unused
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import cache_key, input_identities, plan, preflight_status
from sdp.pipeline.stage_run import Status
from sdp.pipeline.stages import stages_of
from sdp.recipe.sections import Recipe
from sdp.training.steps import optimizer_steps
from sdp_onnx.operators.library import has_library

TRAINING = ("finetune", "prune")


@dataclass(frozen=True)
class PartPlan:
    """One part of the model before and after pruning.

    Attributes:
        name: embeddings, encoder or rest.
        parameters: before pruning.
        remaining: parameters that are neither trimmed nor zero after pruning.
        bytes_before: as dense float32.
        bytes_after: bytes in the recipe's encoding, from counts; the file is measured later.
    """

    name: str
    parameters: int
    remaining: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Plan:
    """Everything `sdp check` prints. Unknown values are None, and `unknown` holds the reasons."""

    recipe: Recipe
    run_folder: str
    cache_key: str
    stages: list[Status] | None
    rows: dict[str, int | None]
    steps: dict[str, int | None]
    parts: list[PartPlan] | None
    unknown: list[str]
    findings: list[Finding]
    head: str | None
    profile: DataProfile | None
    times: dict[str, DurationEstimate]

    @property
    def time_left(self) -> tuple[float, float] | None:
        """Bounds in seconds for all stages that are not up to date; None where they cannot be estimated."""
        return None if self.stages is None else time_left(self.stages, self.times)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON."""
        stages: list[dict[str, Any]] = [{"stage": stage.name} for stage in stages_of(self.recipe)]
        if self.stages is not None:
            stages = [
                {"stage": status.stage.name, "up_to_date": status.up_to_date, "reason": status.reason}
                for status in self.stages
            ]
        return {
            "recipe": self.recipe.name,
            "run_folder": self.run_folder,
            "cache_key": self.cache_key,
            "stages": stages,
            "rows": self.rows,
            "data": None if self.profile is None else self.profile.to_json(),
            "optimizer_steps": self.steps,
            "seconds": {name: vars(estimate) for name, estimate in self.times.items()},
            "seconds_left": self.time_left,
            "parts": [vars(part) for part in self.parts] if self.parts is not None else None,
            "head": self.head,
            "unknown": self.unknown,
            "findings": [vars(finding) for finding in self.findings],
            "settings": self.recipe.model_dump(mode="json"),
        }


def make_plan(recipe: Recipe, run: RunFolder) -> Plan:
    """Plan a recipe without downloading or training anything.

    Results that need a model or data set that is not downloaded are left out, and the plan lists them.

    Raises:
        UsageError: model or data can never work with these settings.
    """
    model, teacher = _locate(recipe), read_teacher(recipe)
    unknown = [missing for missing in (model, teacher) if isinstance(missing, str)]
    counted = count_parts(model) if isinstance(model, ModelFolder) else None
    layers = encoder_shape(model)[1] if isinstance(model, ModelFolder) else None
    identities = input_identities(recipe, download=False) if not unknown else {}
    stages = _stages(recipe, run, identities) if not unknown else None
    rows = read_rows(recipe)
    if rows.profile is None:
        unknown.append("rows, classes, optimizer steps: the data set is not on this machine yet")
    head = plan_head(recipe, model) if isinstance(model, ModelFolder) else ""
    if head is None:
        unknown.append("whether the checkpoint's head fits: the data set is not on this machine yet")
    facts = _facts(recipe, model if isinstance(model, ModelFolder) else None, counted, rows)
    parts = None if counted is None else _forecast(counted, recipe, layers)
    if counted is not None and parts is None:
        unknown.append("parameters and bytes after pruning: prune.target_speedup decides when pruning starts")
    facts = replace(facts, teacher=teacher if isinstance(teacher, TeacherFacts) else None)
    trimmed = None if counted is None else _after_vocabulary(counted, recipe)
    times = stage_times(facts, run, identities, trimmed)
    train = facts.train_inputs
    return Plan(
        recipe,
        str(run.path),
        cache_key(recipe, identities),
        stages,
        rows.counts,
        {name: None if train is None else optimizer_steps(train, getattr(recipe, name)) for name in TRAINING},
        parts,
        unknown,
        explain(facts),
        head,
        rows.profile,
        times,
    )


def _stages(recipe: Recipe, run: RunFolder, identities: dict[str, dict[str, str]]) -> list[Status]:
    """Return the stages in order, with the preflight before the first stage that will train."""
    stages = plan(recipe, run, identities)
    preflight = preflight_status(recipe, run, identities, stages)
    if preflight is not None:
        stages.insert(next(place for place, status in enumerate(stages) if status.stage.ranks), preflight)
    return stages


def _locate(recipe: Recipe) -> ModelFolder | str:
    """Return the model, or the reason why it is not on this machine.

    Raises:
        ModelError: its folder is damaged, or the recipe asks for more tokens than it has positions.
    """
    try:
        model = locate_model(recipe.model, download=False)
    except NotDownloadedError as error:
        return f"parameters, bytes, time and what is up to date: {error.where}: {error.what}"
    require_architecture(model)
    refuse_unused(model)
    require_positions(recipe, model)
    require_more_layers(recipe.prune.layers, model)
    return model


def _facts(recipe: Recipe, model: ModelFolder | None, counted: ModelParts | None, rows: Rows) -> Facts:
    """Collect the facts for the findings."""
    known = Facts(
        recipe,
        this_machine(),
        rows.counts,
        profile=rows.profile,
        corpus=rows.corpus,
        unlabeled=rows.unlabeled + recipe.prune.augment,
    )
    if model is None or counted is None:
        return known
    trimmed = _after_vocabulary(counted, recipe)
    hidden_size, layers = encoder_shape(model)
    parts = _forecast(counted, recipe, layers)
    if rows.train is not None:
        known = replace(known, lengths=sampled_lengths(model.path, input_texts(recipe, rows.train.texts)))
        if recipe.task.problem_type == "question-answering":
            known = replace(known, windows=sampled_windows(model.path, rows.train.texts, recipe.data))
    return replace(
        known,
        bytes_pretrained=counted.total * FLOAT_BYTES,
        bytes_dense=trimmed.total * FLOAT_BYTES,
        bytes_after=None if parts is None else {part.name: part.bytes_after for part in parts},
        prunable=sum(trimmed.prunable.values()),
        parameters=trimmed.total,
        model_type=model_type(model),
        hidden_size=hidden_size,
        layers=layers,
        positions=model_positions(model.path),
    )


def _after_vocabulary(parts: ModelParts, recipe: Recipe) -> ModelParts:
    """Return the parts of the model after [vocabulary]."""
    return parts if recipe.vocabulary is None else parts.trimmed(recipe.vocabulary.size)


def _forecast(parts: ModelParts, recipe: Recipe, layers: int | None) -> list[PartPlan] | None:
    """Return what is predicted of the parts; None where measured times will decide how many weights are pruned."""
    return part_plans(parts, recipe, layers) if recipe.prune.target_speedup is None else None


def part_plans(parts: ModelParts, recipe: Recipe, layers: int | None = None) -> list[PartPlan]:
    """Predict the effect of trimming the vocabulary, leaving layers out, pruning and encoding on each part.

    Every layer is assumed to have the same sparsity: exact for scope = "layer", right in sum for the others.

    Args:
        parts: of the pretrained model.
        recipe: the recipe.
        layers: of the pretrained model; None where unknown.
    """
    remaining = 0
    after = 0
    kept_layers = parts.first(recipe.prune.layers, layers)
    for elements in kept_layers.prunable.values():
        kept = elements - round(elements * recipe.prune.sparsity)
        remaining += kept
        after += _encoded_bytes(elements, kept, recipe)
    other = kept_layers.encoder_other
    before, rest, each = parts.encoder * FLOAT_BYTES, parts.rest, float_bytes(recipe.export)
    return [
        _embeddings(parts.embeddings, _after_vocabulary(parts, recipe).embeddings, recipe),
        PartPlan("encoder", parts.encoder, remaining + other, before, after + other * each),
        PartPlan("rest", rest, rest, rest * FLOAT_BYTES, rest * each),
    ]


def _encoded_bytes(elements: int, kept: int, recipe: Recipe) -> int:
    """Return the bytes of a weight in the recipe's encoding."""
    if recipe.prune.structured:
        elements = kept
    density = kept / elements
    kind = product(recipe.prune, recipe.export, density, library=has_library())
    encoding, itemsize = stored_as(kind, recipe.export, density), float_bytes(recipe.export)
    return stored_bytes(kind, encoding, recipe.prune.zeros, elements, kept, itemsize)


def _embeddings(parameters: int, kept: int, recipe: Recipe) -> PartPlan:
    bytes_each = 1 if recipe.export.precision == "int8" else float_bytes(recipe.export)
    return PartPlan("embeddings", parameters, kept, parameters * FLOAT_BYTES, kept * bytes_each)
