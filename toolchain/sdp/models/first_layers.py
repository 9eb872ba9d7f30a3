"""The first layers of an encoder as a network of its own: the embeddings, so many layers, and what stands behind the
last one.

For any architecture: the network is built again with a smaller number of layers, and what both have has the same names.
"""

from __future__ import annotations

import copy
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from sdp.errors import ModelError

KEY = "prune.layers"


def first_layers(model: PreTrainedModel, layers: int) -> PreTrainedModel:
    """Return a network with the first layers of another one, and copies of their weights, on its device.

    Args:
        model: the network; it stays as it is.
        layers: how many are kept, fewer than it has.

    Raises:
        ModelError: the architecture has parts that depend on how many layers there are.
    """
    if getattr(model.config, "num_hidden_groups", 1) > 1:
        # Which of ALBERT's shared layers runs at a place depends on how many places there are.
        raise _error(model, "its layers share several groups of weights")
    shorter: PreTrainedModel = type(model)(_shorter_config(model.config, layers))
    weights, kept = model.state_dict(), shorter.state_dict()
    other = [name for name, own in kept.items() if name not in weights or weights[name].shape != own.shape]
    if other:
        raise _error(model, f"{other[0]} depends on how many layers there are")
    shorter.load_state_dict({name: weights[name] for name in kept})
    shorter.to(model.device)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    shorter.train(model.training)
    return shorter


def _shorter_config(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    total, shorter = config.num_hidden_layers, copy.deepcopy(config)
    shorter.num_hidden_layers = layers
    for name, value in _lists(config).items():
        if len(value) == total:
            # A value for each layer, such as its kind of attention.
            setattr(shorter, name, value[:layers])
    return shorter


def _lists(config: PreTrainedConfig) -> dict[str, list[Any]]:
    return {name: value for name, value in config.to_dict().items() if isinstance(value, list)}


def _error(model: PreTrainedModel, why: str) -> ModelError:
    what = f"the first layers of a {model.config.model_type} model are no network of their own: {why}"
    return ModelError(what, where=KEY, hint="Remove the key.")
