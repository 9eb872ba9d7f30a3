"""Which pruning can be fully sharded: what needs whole gradients, or whole weights at every step, cannot."""

from __future__ import annotations

from sdp.distributed.sharded import require_shardable
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.losses import LOSSES
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import RuntimeSection


def require_shardable_pruning(runtime: RuntimeSection, prune: PruneSection) -> None:
    """See that a pruning can be sharded.

    Raises:
        UsageError: a setting needs what a rank of a sharded run has only a part of.
    """
    obstacle = None
    if not CRITERIA[prune.criterion].shardable:
        obstacle = f'prune.criterion = "{prune.criterion}" remembers gradients, of which each process has a part'
    elif not all(LOSSES[loss.name].shardable for loss in prune.losses):
        whole = (name for name, row in LOSSES.items() if not row.shardable)
        obstacle = f"{' and '.join(whole)} read whole weights at every step"
    known = (row.name for row in CRITERIA.values() if row.shardable)
    require_shardable(runtime, obstacle, f"Sharded pruning knows the criteria {', '.join(known)}.")
