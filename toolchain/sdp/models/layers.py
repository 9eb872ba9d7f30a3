"""The layers of an encoder as torch modules, and their linear weights: all of them can be pruned, or none."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.architectures import ANY_LAYOUT, supported_types
from sdp.models.parts import block_of, is_prunable

# Parts of a base model that are no layers: tables and their projections, the pooler, heads of pretraining inside it.
_NO_LAYERS = (*ANY_LAYOUT.tables, *ANY_LAYOUT.outside)


def layer_count(model: PreTrainedModel) -> int:
    """Number of encoder layers; transformers gives it this name for every architecture."""
    return int(model.config.num_hidden_layers)


def prunable_weights(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Find Q, K, V, attention output and both feed-forward matrices of every encoder layer.

    Never biases, LayerNorm, embeddings, pooler or classifier. A weight that several layers share is one of them, once.

    Returns:
        parameter name -> weight [out, in], in the order of the model.

    Raises:
        ModelError: a matrix of the encoder is not a weight of an nn.Linear in a numbered layer, so that pruning would
            leave it dense; or there are no such weights.
    """
    missed = next(_missed(model), None)
    if missed is not None:
        name, module = missed
        what = f"sdp cannot prune {model.config.model_type} models: {name} is no linear weight of an encoder layer"
        raise ModelError(f"{what}, but of {module}", where=type(model).__name__, hint=supported_types())
    # Where all units of a part were removed, there are weights without an element.
    weights = {
        name: weight for name, weight in model.named_parameters() if is_prunable(name, weight.dim()) and weight.numel()
    }
    if not weights:
        what = f"sdp cannot prune {model.config.model_type} models: no linear weights of encoder layers were found"
        raise ModelError(what, where=type(model).__name__, hint=supported_types())
    return weights


def head_parameters(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Find what stands behind the encoder: the pooler, and the classifier or any other head."""
    inside = {id(parameter) for parameter in model.base_model.parameters()} if model.base_model is not model else set()
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if id(parameter) not in inside or any(part in name for part in ANY_LAYOUT.outside)
    }


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
        ModelError: no layer with linear weights is found.
    """
    linear = (name for name, weight in model.named_parameters() if is_prunable(name, weight.dim()))
    blocks = dict.fromkeys(block_of(name) for name in linear)
    if not blocks:
        what = f"no encoder layers were found in a {model.config.model_type} model"
        raise ModelError(what, where=type(model).__name__, hint=supported_types())
    return list(dict.fromkeys(type(model.get_submodule(block)).__name__ for block in blocks))
