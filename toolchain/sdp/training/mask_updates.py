"""When masks are recomputed during training, and what happens then: scores, new masks, and a look at what they do."""

from __future__ import annotations

from sdp.distributed.collectives import broadcast_masks
from sdp.errors import ModelError
from sdp.pruning.analysis.recorder import PruningAnalysis
from sdp.pruning.masks import BLOCK, select_masks, sparsity_of
from sdp.pruning.schedule import mask_updates
from sdp.recipe.pruning import PruneSection
from sdp.training.masked_weights import MaskedWeights


def mask_plan(settings: PruneSection, steps: int, initial: float = 0.0) -> dict[int, float]:
    """The steps of a run after which masks are updated -> sparsity, in order; it rises from `initial`."""
    return mask_updates(steps, settings.ramp, settings.mask_updates, settings.sparsity, settings.schedule, initial)


class MaskUpdates:
    """Recomputes the masks at the steps that the schedule names; sparsity rises from that of the masks given.

    Raises:
        ModelError: the model's weights cannot be cut into the blocks or groups of the pattern.
    """

    def __init__(
        self, settings: PruneSection, steps: int, masked: MaskedWeights, analysis: PruningAnalysis | None = None
    ) -> None:
        if settings.pattern != "unstructured":
            _require_blocks(masked)
        self._settings = settings
        self._masked = masked
        self._analysis = analysis
        self._plan = mask_plan(settings, steps, sparsity_of(masked.masks))

    def is_due(self, step: int) -> bool:
        """Whether masks are updated after this step."""
        return step in self._plan

    def __call__(self, step: int) -> dict[str, float]:
        """Update the masks, after a step of the plan; return the sparsity wanted and reached."""
        wanted = self._plan[step]
        masks = select_masks(self._masked.scores(), wanted, self._settings.scope, self._settings.pattern)
        broadcast_masks(masks)
        if self._analysis is not None:
            self._analysis.before_update(self._masked.weights, self._masked.masks, masks)
        self._masked.set(masks, last=step == max(self._plan))
        return {"wanted": wanted, "sparsity": sparsity_of(self._masked.masks)}


def _require_blocks(masked: MaskedWeights) -> None:
    for name, weight in masked.weights.items():
        if weight.shape[-1] % BLOCK:
            raise ModelError(
                f"a weight has {weight.shape[-1]} inputs, which is not a multiple of {BLOCK}",
                where=name,
                hint='Set prune.pattern = "unstructured".',
            )
