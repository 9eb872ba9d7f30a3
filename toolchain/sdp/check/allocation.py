"""Findings on sparsities by matrix (`prune.scope = "allocated"`) and on targets: what is known before pruning."""

from __future__ import annotations

from collections.abc import Iterator

from sdp.check.facts import Facts, Finding
from sdp.pruning.allocation import sparsity_levels

LIBRARY_HINT = "g++ or clang++, then installing this package again; or prune.sparsity."


def allocation_findings(facts: Facts) -> Iterator[Finding]:
    """Yield findings on the allocation and its target."""
    prune = facts.recipe.prune
    if prune.target_speedup is not None:
        yield from _target(facts, prune.target_speedup)
    if prune.scope != "allocated":
        return
    most = prune.layer_cap
    sparsest = sparsity_levels(most)[-1]
    if prune.target_speedup is None and prune.sparsity > sparsest:
        what = f"{prune.sparsity:g} cannot be reached: the sparsest level of a matrix is {sparsest:.3g}"
        yield Finding("warning", "prune.sparsity", what, 'prune.scope = "layer" or "global".')
    cap = f", {most:.1%} at most" if most < 1 else ""
    what = (
        f"each matrix gets a sparsity of its own{cap}, by what {prune.calibration_rows:,} rows show when pruning starts"
    )
    yield Finding("note", "prune.scope", what)


def _target(facts: Facts, target: float) -> Iterator[Finding]:
    recipe, bench = facts.recipe, facts.recipe.bench
    if recipe.times_operators and not facts.machine.library:
        what = "times of the operator library are to be measured, which this installation lacks: pruning here will fail"
        yield Finding("warning", "prune.target_speedup", what, LIBRARY_HINT)
    length = bench.sequence_lengths[0]
    lengths = "the task's own lengths" if length == "task" else f"{length} tokens"
    what = (
        f"how {'much is removed' if recipe.prune.structured else 'many zeros it takes'} follows from times on the "
        f"machine that prunes: {recipe.export.precision}, batch "
        f"{bench.batch_sizes[0]}, {lengths}, {bench.thread_counts[0]} threads"
    )
    yield Finding("note", "prune.target_speedup", what)
    least = recipe.gate.min_speedup
    if least is not None and least > target:
        what = f"{least:g} is asked for, and prune.target_speedup = {target:g} prunes for less"
        yield Finding("warning", "gate.min_speedup", what, f"prune.target_speedup above {least:g}.")
