"""Estimated times of the stages of a plan, and their total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sdp.check.duration import DurationEstimate, Work, earlier_estimates, matmul_rate, timed_estimates, training_threads
from sdp.check.facts import Facts
from sdp.check.thresholds import evaluated_split
from sdp.models.parts import ModelParts
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stage_run import Status


def stage_times(
    facts: Facts, run: RunFolder, identities: Mapping[str, Mapping[str, str]], parts: ModelParts | None
) -> dict[str, DurationEstimate]:
    """Estimate the time of each stage, from earlier runs where possible.

    There is no estimate from timing for a GPU, which cannot be measured without torch.

    Args:
        facts: recipe, machine, rows.
        run: the run folder.
        identities: result of `pipeline.input_identities`; empty where unknown.
        parts: parts of the model after [vocabulary]; None where it is not on this machine.
    """
    recipe, train = facts.recipe, facts.rows.get("train")
    if train is None or parts is None or facts.lengths is None or not identities:
        return {}
    known = earlier_estimates(recipe, run, identities, train)
    if recipe.runtime.device == "cuda" or (recipe.runtime.device == "auto" and facts.machine.gpu):
        return known
    pruned = parts.first(recipe.prune.layers, facts.layers)
    work = Work(
        parts.encoder + parts.rest,
        pruned.encoder + pruned.rest,
        facts.layers,
        facts.rows,
        evaluated_split(facts),
        facts.lengths,
    )
    threads = training_threads(facts.machine.cores, facts.recipe.runtime.threads)
    return timed_estimates(facts, work, matmul_rate() * threads) | known


def time_left(stages: Sequence[Status], times: Mapping[str, DurationEstimate]) -> tuple[float, float] | None:
    """Return bounds in seconds for the stages that are not up to date; None where training has no estimate.

    Args:
        stages: the status of each stage.
        times: result of `stage_times`.
    """
    left = [status.stage.name for status in stages if not status.up_to_date]
    if any(name not in times for name in ("finetune", "prune") if name in left):
        return None
    low, high = (sum(times[name].range[end] for name in left if name in times) for end in (0, 1))
    return low, high


def shown_time(low: float, high: float) -> str:
    """Format a range of seconds in whole minutes, or in hours from two hours on."""
    if high < 60:
        return "less than a minute"
    unit, size = ("h", 3600) if low >= 2 * 3600 else ("min", 60)
    ends = [f"{max(1, round(end / size))}" if unit == "min" else f"{end / size:.1f}" for end in (low, high)]
    return f"about {ends[0]} {unit}" if ends[0] == ends[1] else f"about {ends[0]} to {ends[1]} {unit}"
