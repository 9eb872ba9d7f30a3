"""When masks are recomputed during training, and what happens then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from sdp.distributed.collectives import broadcast_masks
from sdp.errors import ModelError
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import BLOCK, Masks, Pattern, Scope, select_masks, sparsity_of
from sdp.pruning.schedule import mask_updates
from sdp.recipe.pruning import PruneSection
from sdp.training.hooks import Hook


def mask_plan(settings: PruneSection, steps: int, initial: float = 0.0) -> dict[int, float]:
    """The steps of a run after which masks are updated -> sparsity, in order; it rises from `initial`."""
    return mask_updates(steps, settings.ramp, settings.updates, settings.sparsity, settings.schedule, initial)


def share_plan(settings: PruneSection, steps: int) -> dict[int, float]:
    """The same for a target of any kind: step -> the share of the way to it, in order, from 0 to 1."""
    return mask_plan(settings.model_copy(update={"sparsity": 1.0}), steps)


BeforeUpdate = Callable[[Mapping[str, nn.Parameter], Masks, Masks], None]
AfterUpdate = Callable[[Masks], None]


class MaskUpdates(Hook):
    """A hook that recomputes the masks at the steps of the schedule; sparsity rises from that of the masks given.

    Args:
        settings: sparsity, schedule, scope and pattern.
        steps: optimizer steps of the run.
        masked: the weights, listed before this hook.
        before_update: called with the weights, their masks, and the masks that they get.
        after_update: called with the masks that the weights have now; may change what is kept.
        sparsities: name -> the sparsity that each weight ends with, where every one has its own. The schedule then
            gives the share of it that each has, from 0 to 1, and weights are ranked within their matrix.

    Raises:
        ModelError: the model's weights cannot be cut into the blocks or groups of the pattern.
    """

    def __init__(
        self,
        settings: PruneSection,
        steps: int,
        masked: MaskedWeights,
        before_update: BeforeUpdate | None = None,
        after_update: AfterUpdate | None = None,
        sparsities: Mapping[str, float] | None = None,
    ) -> None:
        require_blocks(settings.zeros, masked.weights)
        self._settings = settings
        self._masked = masked
        self._before_update = before_update
        self._after_update = after_update
        self._sparsities = sparsities
        if sparsities is None:
            self._plan = mask_plan(settings, steps, sparsity_of(masked.masks))
        else:
            self._plan = share_plan(settings, steps)

    def changes_weights(self, step: int) -> bool:
        """Whether masks are updated after this step."""
        return step in self._plan

    def after_step(self, step: int) -> dict[str, float] | None:
        """Update the masks, after a step of the plan; return the sparsity wanted and reached."""
        if step not in self._plan:
            return None
        masks, wanted = self._select(self._plan[step])
        broadcast_masks(masks)
        if self._before_update is not None:
            self._before_update(self._masked.weights, self._masked.masks, masks)
        self._masked.set(masks, last=step == max(self._plan))
        if self._after_update is not None:
            self._after_update(self._masked.masks)
        sparsity = sparsity_of(self._masked.masks)
        self.note = f"{sparsity:.0%} zeros"
        return {"wanted": wanted, "sparsity": sparsity}

    def _select(self, reached: float) -> tuple[Masks, float]:
        """Return the masks at a value of the schedule, and the sparsity of all weights that is wanted there."""
        scores, settings = self._masked.scores(), self._settings
        if self._sparsities is None:
            scope: Scope = "global" if settings.scope == "global" else "layer"
            return select_masks(scores, reached, scope, settings.zeros, settings.layer_cap), reached
        own = {name: reached * final for name, final in self._sparsities.items()}
        masks: Masks = {}
        for name, score in scores.items():
            masks |= select_masks({name: score}, own[name], "layer", settings.zeros)
        elements = {name: score.numel() for name, score in scores.items()}
        return masks, sum(own[name] * count for name, count in elements.items()) / sum(elements.values())


def require_blocks(pattern: Pattern, weights: Mapping[str, nn.Parameter]) -> None:
    """Require that weights can be cut into the blocks or groups of a pattern.

    Raises:
        ModelError: one of them cannot.
    """
    for name, weight in weights.items() if pattern != "unstructured" else ():
        if weight.shape[-1] % BLOCK:
            raise ModelError(
                f"a weight has {weight.shape[-1]} inputs, which is not a multiple of {BLOCK}",
                where=name,
                hint='Set prune.pattern = "unstructured".',
            )
