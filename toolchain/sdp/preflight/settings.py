"""Settings of the preflight: the recipe's, with every setting that costs time at its minimum. No torch.

Two recipes with equal settings here have equal preflights.
"""

from __future__ import annotations

from typing import Any

from sdp.distributed.launcher import process_count
from sdp.losses.needs import named_layers
from sdp.recipe.base import TrainingSection
from sdp.recipe.bench import BenchSection
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.gate import GateSection
from sdp.recipe.sections import Recipe, ShipSection

LAYERS = 2
"""Layers that the model keeps, unless a loss names more."""
# Large batches of the longest rows would fill the memory.
BATCH_SIZE = 4
ANALYSIS_ROWS = 8
RESAMPLES = 100
# The head is not trained: its logits are small compared with rounding errors.
TOLERANCES = {"int8": 10.0, "fp16": 1.0}


def reduced(recipe: Recipe) -> Recipe:
    """Return the recipe with one pass over its rows, one mask update, and one repetition of each measurement."""
    training = {name: _once(getattr(recipe, name)) for name in ("finetune", "prune")}
    masks: dict[str, Any] = {"schedule": "cubic", "ramp": 1.0, "mask_updates": 1, "start": None}
    masks["calibration_rows"] = BATCH_SIZE
    if recipe.prune.target_speedup is not None:
        # A few layers of an untrained model reach other speed-ups: a sparsity is allocated in its place.
        masks |= {"target_speedup": None, "sparsity": recipe.prune.layer_cap / 2}
    if recipe.prune.layers is not None:
        masks["layers"] = _layers_kept(recipe, recipe.prune.layers)
    masks["augment"] = min(recipe.prune.augment, BATCH_SIZE)
    if recipe.prune.quantization_aware > 0:
        # Steps before the phase, its border, and steps in it.
        masks["quantization_aware"] = 0.5
    masks |= {key: least for key, least in CRITERIA[recipe.prune.criterion].settings.items() if least is not None}
    export = recipe.export
    if export.precision in TOLERANCES:
        export = export.model_copy(update={"tolerance": TOLERANCES[export.precision]})
    sections = {
        "seed": 0,
        "finetune": recipe.finetune.model_copy(update=training["finetune"]),
        "prune": recipe.prune.model_copy(update=training["prune"] | masks),
        "analysis": recipe.analysis.model_copy(update={"rows": 0 if recipe.analysis.rows == 0 else ANALYSIS_ROWS}),
        "evaluate": recipe.evaluate.model_copy(
            update={"resamples": RESAMPLES, "batch_size": min(recipe.evaluate.batch_size, BATCH_SIZE)}
        ),
        "export": export,
        "bench": recipe.bench.model_copy(update=_defaults(BenchSection, "threads", "seconds", "starts")),
        "gate": GateSection(),
        "ship": ShipSection(),
        "runtime": recipe.runtime.model_copy(update={"report_to": ()}),
    }
    return recipe.model_copy(update=sections)


def layers_needed(recipe: Recipe) -> int:
    """Return the number of layers that the model must keep: losses may name some, from either end."""
    kept = recipe.prune.layers
    more = [] if kept is None else [_layers_kept(recipe, kept) + 1]
    return max([LAYERS, *_named(recipe), *more])


def _named(recipe: Recipe) -> list[int]:
    return [abs(layer) for loss in recipe.prune.losses for layer in named_layers(loss)]


def _layers_kept(recipe: Recipe, layers: int) -> int:
    """As many as the losses name, and no more than the recipe keeps."""
    return min(layers, max([1, *_named(recipe)]))


def _once(section: TrainingSection) -> dict[str, Any]:
    """Return settings of one pass at a harmless learning rate; what does not train stays so."""
    return {
        **_defaults(TrainingSection, "learning_rate", "weight_decay", "warmup", "decay", "steps"),
        "epochs": float(section.trains),
        # Each process that shares a batch needs a row.
        "batch_size": min(section.batch_size, max(BATCH_SIZE, process_count())),
    }


def _defaults(section: type[Any], *names: str) -> dict[str, Any]:
    return {name: section.model_fields[name].default for name in names}
