"""What `sdp check` tells before any work is done: stages, optimizer steps, parameters and bytes by part. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sdp.data.identity import count_rows
from sdp.errors import NotDownloadedError
from sdp.explain.facts import Facts, Finding, this_machine
from sdp.explain.findings import explain
from sdp.explain.forecast import FLOAT_BYTES, product, stored_as, stored_bytes
from sdp.models.architectures import require_architecture
from sdp.models.parts import ModelParts, count_parts, encoder_shape
from sdp.models.positions import model_positions, require_positions
from sdp.models.source import locate_model
from sdp.pipeline import Status, cache_key, input_identities, plan
from sdp.recipe.sections import Recipe
from sdp.run_folder import RunFolder
from sdp.stage_table import stages_of
from sdp.steps import optimizer_steps
from sdp_onnx.operator_library import has_library


@dataclass(frozen=True)
class PartPlan:
    """One part of the model before and after.

    Attributes:
        name: embeddings, encoder or rest.
        parameters: before pruning.
        remaining: parameters that are neither trimmed nor zero after pruning.
        bytes_before: as dense float32.
        bytes_after: as the recipe's encoding stores it, from counts; the file is measured later.
    """

    name: str
    parameters: int
    remaining: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Plan:
    """Everything `sdp check` prints. What cannot be known yet is None, and `unknown` says why."""

    recipe: Recipe
    run_folder: str
    cache_key: str
    stages: list[Status] | None
    rows: dict[str, int | None]
    steps: dict[str, int | None]
    parts: list[PartPlan] | None
    unknown: list[str]
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON."""
        stages = self.stages
        return {
            "recipe": self.recipe.name,
            "run_folder": self.run_folder,
            "cache_key": self.cache_key,
            "stages": [
                {"stage": stage.name}
                if stages is None
                else {"stage": stage.name, "up_to_date": stages[i].up_to_date, "reason": stages[i].reason}
                for i, stage in enumerate(stages_of(self.recipe))
            ],
            "rows": self.rows,
            "optimizer_steps": self.steps,
            "parts": [vars(part) for part in self.parts] if self.parts is not None else None,
            "unknown": self.unknown,
            "findings": [vars(finding) for finding in self.findings],
            "settings": self.recipe.model_dump(mode="json"),
        }


def make_plan(recipe: Recipe, run: RunFolder) -> Plan:
    """Plan a recipe without downloading or training anything.

    What needs a model or data set that is still on the hub is left out, and the plan says so.

    Raises:
        UsageError: the model or the data can never work as the recipe names them.
    """
    unknown: list[str] = []
    parts: list[PartPlan] | None = None
    trimmed: ModelParts | None = None
    hidden_size = layers = positions = None
    stages: list[Status] | None = None
    identities: dict[str, dict[str, str]] = {}
    try:
        model = locate_model(recipe.model, download=False)
        require_architecture(model)
        require_positions(recipe, model)
        positions = model_positions(model.path)
        counted = count_parts(model)
        trimmed = _after_vocabulary(counted, recipe)
        parts = part_plans(counted, recipe)
        hidden_size, layers = encoder_shape(model)
        identities = input_identities(recipe, download=False)
        stages = plan(recipe, run, identities)
    except NotDownloadedError as error:
        unknown.append(f"parameters, bytes and what is up to date: {error.where}: {error.what}")
    rows = count_rows(recipe)
    train = rows["train"]
    if train is None:
        unknown.append("optimizer steps: the data set is not on this machine yet")
    steps = {
        "finetune": None if train is None else optimizer_steps(train, recipe.finetune),
        "prune": None if train is None else optimizer_steps(train, recipe.prune),
    }
    facts = Facts(
        recipe,
        this_machine(),
        rows,
        bytes_pretrained=None if parts is None else sum(part.bytes_before for part in parts),
        bytes_dense=None if trimmed is None else trimmed.total * FLOAT_BYTES,
        bytes_after=None if parts is None else {part.name: part.bytes_after for part in parts},
        prunable=None if trimmed is None else sum(trimmed.prunable.values()),
        parameters=None if trimmed is None else trimmed.total,
        hidden_size=hidden_size,
        layers=layers,
        positions=positions,
    )
    key = cache_key(recipe, identities)
    return Plan(recipe, str(run.path), key, stages, rows, steps, parts, unknown, explain(facts))


def _after_vocabulary(parts: ModelParts, recipe: Recipe) -> ModelParts:
    """The model as it is fine-tuned."""
    return parts if recipe.vocabulary is None else parts.trimmed(recipe.vocabulary.size)


def part_plans(parts: ModelParts, recipe: Recipe) -> list[PartPlan]:
    """Predict what trimming the vocabulary, pruning and encoding do to each part.

    The sparsity is taken as equal in every layer, which is exact for scope = "layer" and right in sum for "global".
    """
    remaining = 0
    after = 0
    for elements in parts.prunable.values():
        kept = elements - round(elements * recipe.prune.sparsity)
        remaining += kept
        after += _encoded_bytes(elements, kept, recipe)
    other = parts.encoder_other
    before, rest = parts.encoder * FLOAT_BYTES, parts.rest * FLOAT_BYTES
    return [
        _embeddings(parts.embeddings, _after_vocabulary(parts, recipe).embeddings, recipe),
        PartPlan("encoder", parts.encoder, remaining + other, before, after + other * FLOAT_BYTES),
        PartPlan("rest", parts.rest, parts.rest, rest, rest),
    ]


def _encoded_bytes(elements: int, kept: int, recipe: Recipe) -> int:
    """What a weight takes when it is stored as the recipe says."""
    density = kept / elements
    kind = product(recipe.prune, recipe.export, density, library=has_library())
    return stored_bytes(kind, stored_as(kind, recipe.export, density), recipe.prune.pattern, elements, kept)


def _embeddings(parameters: int, kept: int, recipe: Recipe) -> PartPlan:
    bytes_each = 1 if recipe.export.precision == "int8" else FLOAT_BYTES
    return PartPlan("embeddings", parameters, kept, parameters * FLOAT_BYTES, kept * bytes_each)
