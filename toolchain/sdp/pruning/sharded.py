"""Which pruning can be fully sharded: what needs whole gradients, or whole weights at every step, cannot."""

from __future__ import annotations

from sdp.distributed.sharded import require_shardable
from sdp.losses.objective import Objective
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import RuntimeSection

# They ask for nothing but the weights as they are at a mask update.
CRITERIA = ("magnitude", "random", "lamp", "lookahead")


def require_shardable_pruning(objective: Objective, runtime: RuntimeSection, prune: PruneSection) -> None:
    """See that a pruning can be sharded.

    Raises:
        UsageError: a setting needs what a rank of a sharded run has only a part of.
    """
    obstacle = None
    if prune.criterion not in CRITERIA:
        obstacle = f'prune.criterion = "{prune.criterion}" remembers gradients, of which each process has a part'
    elif objective.needs_weights:
        obstacle = "align-cosine and align-frobenius read whole weights at every step"
    require_shardable(runtime, obstacle, f"Sharded pruning knows the criteria {', '.join(CRITERIA)}.")
