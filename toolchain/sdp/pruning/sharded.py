"""Which pruning can be fully sharded: what needs whole gradients, or whole weights at every step, cannot."""

from __future__ import annotations

from sdp.distributed.sharded import require_shardable
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.losses import LOSSES
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import RuntimeSection


def require_shardable_pruning(runtime: RuntimeSection, prune: PruneSection) -> None:
    """Require that a pruning can be sharded.

    Raises:
        UsageError: a setting needs full tensors at every step.
    """
    obstacle = None
    if prune.structured:
        obstacle = 'prune.pattern = "structured" measures the whole network in each process'
    elif not CRITERIA[prune.criterion].shardable:
        obstacle = f'prune.criterion = "{prune.criterion}" needs full gradients, and each process has a shard'
    elif not all(LOSSES[loss.name].shardable for loss in prune.losses):
        whole = (name for name, row in LOSSES.items() if not row.shardable)
        obstacle = f"{' and '.join(whole)} need full weights at every step"
    elif prune.repair:
        obstacle = "prune.repair runs the whole network in each process"
    known = (row.name for row in CRITERIA.values() if row.shardable)
    require_shardable(runtime, obstacle, f"Sharded pruning supports the criteria {', '.join(known)}.")
