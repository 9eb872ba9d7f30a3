"""Choose the sparsity of each matrix before pruning starts (`prune.scope = "allocated"`), once, and store the choice.

What a matrix costs is its number of weights, or with `prune.target_speedup` its measured time; what it loses is the
relative squared error of its outputs when it is pruned alone. `allocation.json` holds the choice, and a resumed run
reads it, on whatever machine it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.distributed.collectives import broadcast_number, this_rank
from sdp.errors import RecipeError
from sdp.models.layers import prunable_weights
from sdp.models.load import load_finetuned
from sdp.pipeline.artifacts.allocation import AllocatedLayer, AllocationTimes, PruneAllocation
from sdp.pipeline.artifacts.base import present
from sdp.pipeline.progress import Reporter
from sdp.pruning.allocation import allocate, lowest_cost, sparsity_levels
from sdp.pruning.layer_errors import LayerLoss, measure_losses
from sdp.pruning.layer_inputs import calibration_batches
from sdp.pruning.mask_updates import require_blocks
from sdp.pruning.masks import BLOCK, kept_count
from sdp.pruning.measured_times import MeasuredTimes, measure_times, uses_operators
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe
from sdp_onnx.deploy.tokenization import TextTokenizer

# How many budgets are tried where the exporter would leave a model dense at the first one.
_BUDGETS = 40

Costs = Sequence[NDArray[np.float64]]


def allocated_sparsities(
    recipe: Recipe,
    source: Path,
    target: Path,
    rows: TokenizedSplit,
    tokenizer: TextTokenizer,
    device: torch.device,
    reporter: Reporter,
) -> dict[str, float]:
    """Return the stored choice, or make it and store it; all ranks get that of rank 0.

    Args:
        recipe: with prune.scope = "allocated".
        source: the folder of the dense network.
        target: the folder of allocation.json, which all ranks see.
        rows: some of them measure the layers, and the times.
        tokenizer: the network's.
        device: where the layers are measured.
        reporter: shows progress.

    Returns:
        name of a weight -> its sparsity.

    Raises:
        RecipeError: no allocation reaches the sparsity or speed-up of the recipe.
        ModelError: a weight cannot be cut into the blocks of the pattern.
        OperatorLibraryError: times are to be measured, and this installation has no operator library.
    """
    path = target / PruneAllocation.FILE
    if this_rank() == 0 and not path.exists():
        model = load_finetuned(source, device)
        require_blocks(recipe.prune.zeros, prunable_weights(model))
        _made(recipe, model, rows, tokenizer, reporter).store(target)
    broadcast_number(0)
    allocation = PruneAllocation.read(path)
    if allocation is None:
        raise RuntimeError(f"{path} is missing")
    reporter.line(f"  {allocation_line(allocation)}")
    return allocation.sparsities


def allocation_line(allocation: PruneAllocation) -> str:
    """What was chosen, in a line."""
    levels = allocation.sparsities.values()
    line = (
        f"allocated: {min(levels):.0%} to {max(levels):.1%} zeros in {len(levels)} matrices, {allocation.sparsity:.1%} "
        "in all"
    )
    if (times := allocation.times) is None:
        return line
    return (
        f"{line}; expected {times.expected_speedup:.2f} times as fast as the dense file's {times.dense:.1f} ms "
        f"({times.case}, {times.threads} threads)"
    )


def _made(
    recipe: Recipe, model: PreTrainedModel, rows: TokenizedSplit, tokenizer: TextTokenizer, reporter: Reporter
) -> PruneAllocation:
    prune, collator = recipe.prune, Collator(tokenizer)
    levels = sparsity_levels(prune.layer_cap)
    elements = {name: weight.numel() for name, weight in prunable_weights(model).items()}
    batches = calibration_batches(rows, collator, prune.calibration_rows, recipe.seed)
    losses = measure_losses(model, batches, levels, prune.zeros, reporter)
    if prune.target_speedup is None:
        chosen = within_sparsity(prune, levels, elements, losses)
        return _stored(levels, elements, losses, chosen)
    runs = {name: loss.runs for name, loss in losses.items()}
    times = measure_times(recipe, model.cpu(), runs, levels, rows, collator, tokenizer.inputs, reporter)
    chosen = within_time(recipe, times, levels, elements, losses)
    return _stored(levels, elements, losses, chosen, times)


def within_sparsity(
    prune: PruneSection, levels: Sequence[float], elements: Mapping[str, int], losses: Mapping[str, LayerLoss]
) -> list[int]:
    """Choose the level of each matrix such that no more weights are left than prune.sparsity in every matrix leaves.

    Raises:
        RecipeError: it is more than the sparsest level has.
    """
    costs = _kept(prune, levels, elements)
    budget = sum(float(*own) for own in _kept(prune, [prune.sparsity], elements))
    if lowest_cost(costs) > budget:
        what = f"{prune.sparsity:g} cannot be reached: the sparsest level of a matrix is {levels[-1]:.3g}"
        raise RecipeError(what, where="prune.sparsity", hint='Set prune.scope = "layer" or "global".')
    return allocate(costs, _errors(losses), budget)


def within_time(
    recipe: Recipe,
    times: MeasuredTimes,
    levels: Sequence[float],
    elements: Mapping[str, int],
    losses: Mapping[str, LayerLoss],
) -> list[int]:
    """Choose the level of each matrix such that the file is expected to reach prune.target_speedup.

    Raises:
        RecipeError: the fastest allocation does not reach it, or it is reached without a zero.
    """
    costs, target = [np.array(own) for own in times.layers.values()], recipe.prune.target_speedup
    if target is None:
        raise ValueError("no target")
    lowest, budget = lowest_cost(costs), times.dense / target - times.rest
    where = f"prune.target_speedup = {target:g}"
    if budget < lowest:
        fastest = times.speedup(lowest)
        what = f"cannot be reached: with {levels[-1]:.1%} zeros in every matrix the file is {fastest:.2f} times as fast"
        what += f" as the dense one here ({times.case}, {times.threads} threads)"
        most = np.floor(10 * fastest) / 10
        hint = f"Set at most {most:g}{_faster(recipe)}." if most > 1 else "Set prune.sparsity in its place."
        raise RecipeError(what, where=where, hint=hint)
    counts = _kept(recipe.prune, levels, elements)
    for room in np.linspace(budget, lowest, _BUDGETS):
        chosen = allocate(costs, _errors(losses), float(room))
        kept = [(float(own[level]), float(own[0])) for own, level in zip(counts, chosen, strict=True)]
        # The exporter leaves a model dense that is not sparse enough as a whole.
        if not uses_operators(recipe.export.kernel_precision, kept):
            continue
        if not any(chosen):
            alone = times.speedup(_total(costs, chosen))
            what = (
                f"needs no zeros: {recipe.export.precision} alone is {alone:.2f} times as fast as the dense file here"
            )
            raise RecipeError(what, where=where, hint=f"Set more than {np.ceil(10 * alone) / 10:g}.")
        return chosen
    what = f"cannot be reached: with {levels[-1]:.1%} zeros in every matrix the exporter leaves the model dense"
    raise RecipeError(what, where=where, hint="Set prune.max_layer_sparsity higher.")


def _kept(prune: PruneSection, levels: Sequence[float], elements: Mapping[str, int]) -> list[NDArray[np.float64]]:
    """Return the weights of each matrix that are left at each level, whole blocks of the pattern."""
    block = BLOCK if prune.zeros == "1x4" else 1
    return [
        np.array([float(block * kept_count(count // block, level)) for level in levels]) for count in elements.values()
    ]


def _faster(recipe: Recipe) -> str:
    """Return what else makes the file faster, as the end of a hint."""
    ways = []
    if recipe.prune.layer_cap < 1:
        ways.append("a higher prune.max_layer_sparsity")
    if recipe.export.precision == "fp32":
        ways.append('export.precision = "int8" with prune.pattern = "1x4"')
    return "".join(f", or {way}" for way in ways)


def _errors(losses: Mapping[str, LayerLoss]) -> Costs:
    return [np.array(loss.errors) for loss in losses.values()]


def _total(costs: Costs, chosen: Sequence[int]) -> float:
    return sum(float(own[level]) for own, level in zip(costs, chosen, strict=True))


def _stored(
    levels: Sequence[float],
    elements: Mapping[str, int],
    losses: Mapping[str, LayerLoss],
    chosen: Sequence[int],
    times: MeasuredTimes | None = None,
) -> PruneAllocation:
    layers = {}
    for (name, count), level in zip(elements.items(), chosen, strict=True):
        measured = None if times is None else {"ms": times.layers[name][level], "ms_dense": times.layers[name][0]}
        error = losses[name].errors[level]
        layers[name] = AllocatedLayer(elements=count, sparsity=levels[level], error=error, **(measured or {}))
    if times is None:
        return PruneAllocation(layers=layers)
    products = _total([np.array(own) for own in times.layers.values()], chosen)
    own = AllocationTimes(
        case=times.case,
        threads=times.threads,
        dense=times.dense,
        rest=times.rest,
        expected_speedup=times.speedup(products),
    )
    return PruneAllocation(**present(times=own), layers=layers)
