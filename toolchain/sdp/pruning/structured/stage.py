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
from sdp.pipeline.progress import Reporter
from sdp.pruning.masks import Masks
from sdp.pruning.structured.costs import UnitCosts, time_costs, weight_costs
from sdp.pruning.structured.unit_masks import kept_units
from sdp.pruning.structured.unit_times import measure_unit_times
from sdp.recipe.sections import Recipe
from sdp_onnx.deploy.tokenization import TextTokenizer


def unit_costs(
    recipe: Recipe,
    model: PreTrainedModel,
    parts: Sequence[Part],
    source: Path,
    target: Path,
    rows: TokenizedSplit,
    tokenizer: TextTokenizer,
    reporter: Reporter,
) -> UnitCosts:
    """Return what units cost; times are measured once, by the first rank, and stored.

    Args:
        recipe: with pattern = "structured".
        model: the network.
        parts: of it.
        source: the folder of the dense network.
        target: the folder of unit_times.json, which all ranks see.
        rows: texts of the measurement.
        tokenizer: the network's.
        reporter: shows progress.

    Raises:
        RecipeError: no network of this kind reaches the sparsity or speed-up of the recipe.
    """
    if recipe.prune.target_speedup is None:
        return weight_costs(parts, prunable_weights(model), recipe.prune.sparsity)
    path = target / UnitTimes.FILE
    if this_rank() == 0 and not path.exists():
        dense = load_finetuned(source)
        collator = Collator(tokenizer)
        measure_unit_times(recipe, dense, find_parts(dense), rows, collator, tokenizer.inputs, reporter).store(target)
    broadcast_number(0)
    times = UnitTimes.read(path)
    if times is None:
        raise RuntimeError(f"{path} is missing")
    return time_costs(times, recipe.prune.target_speedup)


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
