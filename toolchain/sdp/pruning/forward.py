"""A forward pass that gives what an objective reads, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.losses.network_output import NetworkOutput
from sdp.losses.objective import Objective
from sdp.models.layers import prunable_weights


def classifier_head(model: PreTrainedModel) -> nn.Linear:
    """The classifier's last linear layer: the last one of the model with an output for every label.

    Raises:
        ModelError: the model has no such layer.
    """
    labels = int(model.config.num_labels or 1)
    heads = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == labels]
    if not heads:
        raise ModelError(
            f"{type(model).__name__} has no linear layer of {labels} outputs, so what a classifier reads is unknown",
            where="prune.losses",
            hint='Set representation = "mean", "first" or "tokens".',
        )
    return heads[-1]


class Reader:
    """Runs a network, or a wrapper of it, and reads what an objective needs."""

    def __init__(self, model: PreTrainedModel, objective: Objective) -> None:
        self._hidden = objective.needs_hidden
        self._head = classifier_head(model) if objective.needs_pooled else None
        self.weights: Mapping[str, Tensor] = prunable_weights(model) if objective.needs_weights else {}

    def __call__(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> NetworkOutput:
        """Run `model`, the network or what wraps it for a device or for several, on a batch."""
        read: list[Tensor] = []
        hook = None
        if self._head is not None:
            hook = self._head.register_forward_pre_hook(lambda module, arguments: read.append(arguments[0]))
        try:
            outputs = model(**inputs, output_hidden_states=self._hidden)
        finally:
            if hook is not None:
                hook.remove()
        return NetworkOutput(
            outputs.logits,
            hidden=tuple(outputs.hidden_states) if self._hidden else None,
            pooled=read[0] if read else None,
            weights=self.weights,
        )
