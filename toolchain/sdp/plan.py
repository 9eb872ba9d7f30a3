"""What `sdp check` tells before any work is done: stages, optimizer steps, parameters and bytes by part. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sdp.data.identity import count_rows
from sdp.errors import NotDownloadedError
from sdp.models.parts import ModelParts, count_parts
from sdp.models.source import locate_model
from sdp.pipeline import STAGES, Status, cache_key, input_identities, plan
from sdp.recipe.sections import Recipe
from sdp.run_folder import RunFolder
from sdp.steps import optimizer_steps
from sdp_onnx.encodings import coo_bytes, dense_bytes
from sdp_onnx.kernel_choice import BREAK_EVEN_INT8_DENSITY, LARGEST_MEAN_DENSITY
from sdp_onnx.operator_library import has_library
from sdp_onnx.sparse_format import sparse_bytes

FLOAT_BYTES = 4


@dataclass(frozen=True)
class PartPlan:
    """One part of the model before and after.

    Attributes:
        name: embeddings, encoder or rest.
        parameters: before pruning.
        remaining: parameters that are not zero after pruning.
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
                for i, stage in enumerate(STAGES)
            ],
            "rows": self.rows,
            "optimizer_steps": self.steps,
            "parts": [vars(part) for part in self.parts] if self.parts is not None else None,
            "unknown": self.unknown,
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
    stages: list[Status] | None = None
    identities: dict[str, dict[str, str]] = {}
    try:
        parts = part_plans(count_parts(locate_model(recipe.model, download=False)), recipe)
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
    return Plan(recipe, str(run.path), cache_key(recipe, identities), stages, rows, steps, parts, unknown)


def part_plans(parts: ModelParts, recipe: Recipe) -> list[PartPlan]:
    """Predict what pruning and encoding do to each part.

    The sparsity is taken as equal in every layer, which is exact for scope = "layer" and right in sum for "global".
    """
    remaining = 0
    after = 0
    for elements in parts.prunable.values():
        kept = elements - round(elements * recipe.prune.sparsity)
        remaining += kept
        after += _encoded_bytes(elements, kept, recipe)
    other = parts.encoder_other
    encoder = PartPlan("encoder", parts.encoder, remaining + other, parts.encoder * 4, after + other * 4)
    return [
        _untouched("embeddings", parts.embeddings, 1 if recipe.export.precision == "int8" else FLOAT_BYTES),
        encoder,
        _untouched("rest", parts.rest),
    ]


def _encoded_bytes(elements: int, kept: int, recipe: Recipe) -> int:
    """What a weight takes when it is stored as the recipe says."""
    encoding = recipe.export.encoding
    if recipe.export.precision == "int8":
        density = kept / elements
        # A block of four is stored if any of its weights is kept.
        filled = density if recipe.prune.pattern == "1x4" else 1 - (1 - density) ** 4
        if filled >= BREAK_EVEN_INT8_DENSITY:
            return elements
        return sparse_bytes(elements // 4, round(elements / 4 * filled))
    sizes = {"dense": dense_bytes(elements, FLOAT_BYTES), "coo": coo_bytes(kept, FLOAT_BYTES)}
    by_kernel = encoding == "kernel" or (encoding == "auto" and has_library())
    if by_kernel and kept < LARGEST_MEAN_DENSITY * elements:
        return sparse_bytes(elements, kept)
    return sizes[encoding] if encoding in sizes else min(sizes.values())


def _untouched(name: str, parameters: int, bytes_each: int = FLOAT_BYTES) -> PartPlan:
    return PartPlan(name, parameters, parameters, parameters * FLOAT_BYTES, parameters * bytes_each)
