"""Which pruning can be fully sharded: what needs whole gradients, or whole weights at every step, cannot."""

from __future__ import annotations

from sdp.distributed.sharded import require_shardable
from sdp.losses.objective import Objective
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.losses import LOSSES
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import RuntimeSection


def require_shardable_pruning(objective: Objective, runtime: RuntimeSection, prune: PruneSection) -> None:
    """Require that a pruning can be sharded.

    Raises:
        UsageError: a setting needs full tensors at every step.
    """
    obstacle = None
    if CRITERIA[prune.criterion].needs_gradients:
        obstacle = f'prune.criterion = "{prune.criterion}" needs full gradients, and each process has a shard'
    elif objective.needs_weights:
        whole = (name for name, row in LOSSES.items() if row.reads == "weights")
        obstacle = f"{' and '.join(whole)} need full weights at every step"
    known = (row.name for row in CRITERIA.values() if not row.needs_gradients)
    require_shardable(runtime, obstacle, f"Sharded pruning supports the criteria {', '.join(known)}.")
