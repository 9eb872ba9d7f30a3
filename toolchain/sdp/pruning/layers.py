"""Which weights are pruned: the linear weights of the encoder layers, all of them or the model is refused."""

from __future__ import annotations

from collections.abc import Iterator

from optimum.utils import NormalizedConfigManager
from torch import nn
from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.architectures import supported_types
from sdp.models.parts import block_of, is_prunable

# Parts of a base model that are no layers: tables and their projections, the pooler, and a head of ESM's pretraining.
_NO_LAYERS = ("embed", "pooler", "relative_attention_bias", "contact_head")


def layer_count(model: PreTrainedModel) -> int:
    """Number of encoder layers, whatever the architecture calls it in its config."""
    try:
        normalized = NormalizedConfigManager.get_normalized_config_class(model.config.model_type)
    except KeyError:
        return int(model.config.num_hidden_layers)
    return int(normalized(model.config).num_layers)


def prunable_weights(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Find Q, K, V, attention output and both feed-forward matrices of every encoder layer.

    Never biases, LayerNorm, embeddings, pooler or classifier. A weight that several layers share is one of them, once.

    Returns:
        parameter name -> weight [out, in], in the order of the model.

    Raises:
        ModelError: a matrix of the encoder is no weight of an nn.Linear in a numbered layer, so that pruning would
            leave it dense; or there is none at all.
    """
    missed = next(_missed(model), None)
    if missed is not None:
        name, module = missed
        what = f"sdp cannot prune {model.config.model_type} models: {name} is no linear weight of an encoder layer"
        raise ModelError(f"{what}, but of {module}", where=type(model).__name__, hint=supported_types())
    weights = {name: weight for name, weight in model.named_parameters() if is_prunable(name, weight.dim())}
    if not weights:
        what = f"sdp cannot prune {model.config.model_type} models: no linear weights of encoder layers were found"
        raise ModelError(what, where=type(model).__name__, hint=supported_types())
    return weights


def _missed(model: PreTrainedModel) -> Iterator[tuple[str, str]]:
    """Matrices of the encoder that pruning does not reach, each with the class of its module."""
    encoder = model.base_model
    inside = f"{model.base_model_prefix}." if encoder is not model else ""
    for path, module in encoder.named_modules(prefix=inside.removesuffix(".")):
        for own, weight in module.named_parameters(recurse=False):
            name = f"{path}.{own}" if path else own
            if weight.dim() < 2 or isinstance(module, nn.Embedding) or any(part in name for part in _NO_LAYERS):
                continue
            if not is_prunable(name, weight.dim()) or not isinstance(module, nn.Linear):
                yield name, type(module).__name__


def layer_classes(model: PreTrainedModel) -> list[str]:
    """Names of the classes of the encoder's layers; XLM has attention and feed-forward layers in two lists.

    Raises:
        ModelError: as `prunable_weights`.
    """
    blocks = dict.fromkeys(block_of(name) for name in prunable_weights(model))
    return list(dict.fromkeys(type(model.get_submodule(block)).__name__ for block in blocks))
