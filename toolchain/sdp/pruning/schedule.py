"""The schedule of sparsity over a training run: pure arithmetic on step counts."""

from __future__ import annotations

from typing import Literal

Schedule = Literal["cubic", "uniform"]


def sparsity_at(progress: float, final: float, schedule: Schedule, initial: float = 0.0) -> float:
    """Sparsity at a point of the ramp.

    cubic: s = s_f + (s_i - s_f) * (1 - p)^3 (Zhu and Gupta, arXiv 1710.01878); uniform: s = s_i + (s_f - s_i) * p.

    Args:
        progress: p, how far the ramp has come; clipped to [0, 1].
        final: s_f, the sparsity at its end.
        schedule: the shape.
        initial: s_i, the sparsity at its start.
    """
    p = min(max(progress, 0.0), 1.0)
    share = 1 - (1 - p) ** 3 if schedule == "cubic" else p
    # As a mean of the two ends, which meets each of them exactly.
    return initial * (1 - share) + final * share


def mask_updates(
    total_steps: int, ramp: float, updates: int, final: float, schedule: Schedule, initial: float = 0.0
) -> dict[int, float]:
    """Plan the mask updates of a run.

    Args:
        total_steps: optimizer steps of the run, >= 1.
        ramp: share of the steps in which sparsity rises, in (0, 1].
        updates: wanted number of updates, evenly spaced; fewer where there are fewer steps.
        final: sparsity at the last update.
        schedule: the shape of the rise.
        initial: sparsity before the first update.

    Returns:
        optimizer step after which the mask is recomputed -> sparsity it then has; the last one is `final` exactly.
    """
    ramp_steps = max(1, round(total_steps * ramp))
    plan: dict[int, float] = {}
    for update in range(1, updates + 1):
        # Later updates overwrite earlier ones that fall on the same step.
        plan[max(1, round(ramp_steps * update / updates))] = sparsity_at(update / updates, final, schedule, initial)
    return plan
