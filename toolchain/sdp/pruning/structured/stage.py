"""What the pruning stage does with `prune.pattern = "structured"`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.distributed.collectives import broadcast_number, this_rank
from sdp.models.kept_units import save_kept_units
from sdp.models.layers import prunable_weights
from sdp.models.load import load_finetuned
from sdp.models.removal import remove_units
from sdp.models.units import Part, find_parts
from sdp.pipeline.artifacts.unit_times import UnitTimes
from sdp.pipeline.context import StageContext
from sdp.pipeline.run_folder import CACHE
from sdp.pipeline.stages import FINETUNE
from sdp.pruning.masks import Masks
from sdp.pruning.structured.costs import UnitCosts, time_costs, weight_costs
from sdp.pruning.structured.unit_masks import kept_units
from sdp.pruning.structured.unit_times import measure_unit_times, times_key
from sdp_onnx.deploy.tokenization import TextTokenizer


def unit_costs(
    context: StageContext,
    model: PreTrainedModel,
    parts: Sequence[Part],
    rows: TokenizedSplit,
    tokenizer: TextTokenizer,
) -> UnitCosts:
    """Return what units cost.

    Times are measured by the first rank, once: runs that share a cache read them, whatever their speed-up. A copy is
    stored beside the pruned network.

    Args:
        context: of the pruning stage, with pattern = "structured".
        model: the network.
        parts: of it.
        rows: texts of the measurement.
        tokenizer: the network's.

    Raises:
        RecipeError: no network of this kind reaches the sparsity or speed-up of the recipe.
    """
    settings = context.recipe.prune
    if settings.target_speedup is None:
        return weight_costs(parts, prunable_weights(model), settings.sparsity)
    path = context.target / UnitTimes.FILE
    if this_rank() == 0 and not path.exists():
        folder = context.run.path / CACHE / f"unit-times-{times_key(context.recipe, model, rows)}"
        times = UnitTimes.read(folder / UnitTimes.FILE, hint="Delete the file: it is measured again.")
        if times is None:
            times = _measured(context, rows, tokenizer)
            folder.mkdir(parents=True, exist_ok=True)
            times.store(folder)
        times.store(context.target)
    broadcast_number(0)
    times = UnitTimes.read(path)
    if times is None:
        raise RuntimeError(f"{path} is missing")
    return time_costs(times, settings.target_speedup)


def _measured(context: StageContext, rows: TokenizedSplit, tokenizer: TextTokenizer) -> UnitTimes:
    dense = load_finetuned(context.run.stage(FINETUNE.folder))
    parts, collator = find_parts(dense), Collator(tokenizer)
    return measure_unit_times(context.recipe, dense, parts, rows, collator, tokenizer.inputs, context.reporter)


def make_smaller(model: PreTrainedModel, masks: Masks, target: Path) -> Masks:
    """Remove the units that masks leave nothing of from a network, and write which are left.

    Args:
        model: the network; changed in place.
        masks: of its weights.
        target: the folder that the network is saved in.

    Returns:
        the masks of the weights that are left, which are all kept.
    """
    parts = find_parts(model)
    kept = kept_units(parts, masks)
    remove_units(model, parts, kept)
    save_kept_units(parts, kept, target)
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
