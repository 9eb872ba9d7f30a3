"""Which weights are pruned: the linear weights of the encoder layers, found in any transformers architecture."""

from __future__ import annotations

from optimum.utils import NormalizedConfigManager
from torch import nn
from transformers import PreTrainedModel

from sdp.errors import ModelError


def layer_count(model: PreTrainedModel) -> int:
    """Number of encoder layers, whatever the architecture calls it in its config."""
    kind = model.config.model_type
    if kind in NormalizedConfigManager._conf:
        return int(NormalizedConfigManager.get_normalized_config_class(kind)(model.config).num_layers)
    return int(model.config.num_hidden_layers)


def prunable_weights(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Find Q, K, V, attention output and both feed-forward matrices of every encoder layer.

    Never biases, LayerNorm, embeddings, pooler or classifier.

    Returns:
        parameter name -> weight [out, in], in the order of the model.

    Raises:
        ModelError: the encoder's layers are not recognized.
    """
    stack_name, stack = encoder_layers(model)
    return {
        f"{stack_name}.{name}.weight": module.get_parameter("weight")
        for name, module in stack.named_modules()
        if isinstance(module, nn.Linear)
    }


def encoder_layers(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The encoder's list of layers, and its name in the model.

    Raises:
        ModelError: no list of as many layers has linear weights.
    """
    layers = layer_count(model)
    for name, stack in model.named_modules():
        linear = any(isinstance(module, nn.Linear) for module in stack.modules())
        if isinstance(stack, nn.ModuleList) and len(stack) == layers and linear:
            return name, stack
    raise ModelError(
        f"no list of {layers} layers with linear weights was found in {type(model).__name__}",
        hint="sdp prunes encoders built from nn.Linear, such as BERT, XLM-R, MiniLM and DistilBERT.",
    )
