"""The prunable weights of a model in training: held to their masks, and scored by a criterion."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.distributed.sharded import local, part_like, whole_weights
from sdp.models.layers import prunable_weights
from sdp.pruning.criteria.base import Criterion, Setup
from sdp.pruning.criteria.weights import Magnitude
from sdp.pruning.masks import Masks, clear_pruned, load_masks, mask_bits, save_masks
from sdp.training.hooks import Hook

# Beside the masks in a checkpoint, as long as the criterion is not done.
STATE_FILE = "criterion.safetensors"


class MaskedWeights(Hook):
    """A hook: the prunable weights, the masks they are held to, and the criterion that scores them.

    Args:
        weights: name -> parameter.
        criterion: of the same weights; magnitude without one.
        masks: name -> mask to start from; without them all weights are kept.
    """

    def __init__(
        self, weights: dict[str, nn.Parameter], criterion: Criterion | None = None, masks: Masks | None = None
    ) -> None:
        self.weights = weights
        all_kept = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
        self._hold_to(all_kept if masks is None else self._in_place(masks))
        self._criterion = criterion if criterion is not None else Magnitude(weights, Setup())
        self._done = False

    def scores(self) -> dict[str, Tensor]:
        """The criterion's score of each weight."""
        self._criterion.weights = whole_weights(self.weights)
        try:
            return self._criterion.scores(self.masks)
        finally:
            self._criterion.weights = self.weights

    def parameters_replaced(self, model: PreTrainedModel) -> None:
        """Go on with other parameters of the same names and values: sharding a model replaces them."""
        self.weights = self._criterion.weights = prunable_weights(model)
        self._hold_to(self.masks)

    def set(self, masks: Masks, last: bool = False) -> None:
        """Replace the masks and zero what they prune; after the last time the criterion is let go of."""
        masks = self._in_place(masks)
        self._criterion.before_masks_change(self.masks, masks)
        self._hold_to(masks)
        if last:
            self._finish()

    def before_forward(self, step: int) -> None:
        """Let the criterion change the weights for one forward pass of a step."""
        self._criterion.before_forward(self.masks, step)

    def after_backward(self, step: int) -> None:
        """Pass the full gradients of a step to the criterion, then zero the gradients of pruned weights.

        The loss is a function of W * M, so a pruned weight has no gradient; clipping must not see one either.
        """
        self._criterion.observe(self.masks, step)
        for name, weight in self.weights.items():
            if weight.grad is not None:
                clear_pruned(local(weight.grad), self._bits[name])

    def after_optimizer_step(self) -> None:
        """Zero the pruned weights after an optimizer step: momentum and weight decay move them."""
        self._criterion.after_optimizer_step(self.masks)
        self._zero_pruned()

    def save(self, folder: Path) -> None:
        """Write masks, and what the criterion remembers, into a checkpoint."""
        save_masks(self.masks, folder)
        if not self._done:
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in self._criterion.state().items()}
            save_file(state, folder / STATE_FILE)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint, whose weights are in the model already."""
        self._hold_to(self._in_place(load_masks(folder)))
        path = folder / STATE_FILE
        if path.exists():
            self._criterion.load_state(load_file(path))
        else:
            self._finish()

    def _in_place(self, masks: Masks) -> Masks:
        """Masks on the devices and in the order of the weights."""
        return {name: masks[name].to(weight.device) for name, weight in self.weights.items()}

    def _hold_to(self, masks: Masks) -> None:
        self.masks = masks
        self._bits = {
            name: mask_bits(part_like(mask, self.weights[name]), self.weights[name].dtype)
            for name, mask in masks.items()
        }
        self._zero_pruned()

    def _zero_pruned(self) -> None:
        for name, weight in self.weights.items():
            clear_pruned(local(weight), self._bits[name])

    def _finish(self) -> None:
        # Magnitude sees and stores nothing: what others remember is freed, and recovery costs nothing.
        self._criterion = Magnitude(self.weights, Setup())
        self._done = True
