"""The weights that are pruned, and which of them are multiplied with each other.

Pruned are the linear weights of the encoder layers: all of them, or the model is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.architectures import ANY_LAYOUT, Architecture, supported_types
from sdp.models.layouts import PAIRED_ROLES, Role
from sdp.models.parts import block_of, is_prunable

# Parts of a base model that are no layers: tables and their projections, the pooler, heads of pretraining inside it.
_NO_LAYERS = (*ANY_LAYOUT.tables, *ANY_LAYOUT.outside)
_IN_LAYER = re.compile(r"(?P<layer>.+?\.\d+)\.(?P<module>.+)\.weight")


def layer_count(model: PreTrainedModel) -> int:
    """Number of encoder layers; transformers gives it this name for every architecture."""
    return int(model.config.num_hidden_layers)


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


class Neighbours(NamedTuple):
    """The weights that stand next to one, by name, or None.

    Attributes:
        inputs: its row j makes input j of the weight.
        outputs: its column i reads output i of the weight.
        partner: its row i is multiplied with row i of the weight, as query and key are.
    """

    inputs: str | None = None
    outputs: str | None = None
    partner: str | None = None


def find_neighbours(names: Iterable[str], architecture: Architecture | None = None) -> dict[str, Neighbours]:
    """Pair the prunable weights of each encoder layer.

    value -> attention output: heads lie one after the other, so that row j of the value matrix makes exactly column j's
    input. feed-forward input -> output, with the activation between them. query <-> key: their rows of the same index
    are multiplied in q.k, unless they are rotated by position before. Between attention output and feed-forward input
    are a residual sum and a LayerNorm, which mix everything: no pair.

    Args:
        names: names of the parameters, as from `prunable_weights`.
        architecture: the model's row; without one the names of all kinds are tried.

    Raises:
        ModelError: a layer does not consist of these six matrices, or one is not recognized.
    """
    roles = (ANY_LAYOUT if architecture is None else architecture.layout).roles
    layers: dict[str, dict[Role, str]] = {}
    for name in names:
        found = _IN_LAYER.fullmatch(name)
        # The first that matches: "attention.output.dense" also ends as the feed-forward output does.
        role = next((role for role in PAIRED_ROLES if found and _ends(found["module"], roles.get(role, ()))), None)
        if found is None or role is None or role in layers.setdefault(found["layer"], {}):
            raise _not_recognized(name)
        layers[found["layer"]][role] = name
    rotary = architecture is not None and architecture.rotary
    neighbours = {}
    for layer, of in layers.items():
        if missing := [role for role in PAIRED_ROLES if role not in of]:
            raise _not_recognized(layer, f"no {' and no '.join(missing)} matrix was found")
        neighbours[of["query"]] = Neighbours(partner=None if rotary else of["key"])
        neighbours[of["key"]] = Neighbours(partner=None if rotary else of["query"])
        neighbours[of["value"]] = Neighbours(outputs=of["attention output"])
        neighbours[of["attention output"]] = Neighbours(inputs=of["value"])
        neighbours[of["feed-forward input"]] = Neighbours(outputs=of["feed-forward output"])
        neighbours[of["feed-forward output"]] = Neighbours(inputs=of["feed-forward input"])
    return neighbours


def _ends(module: str, endings: tuple[str, ...]) -> bool:
    """Whether the path of a module ends with one of these, at the beginning of a word."""
    return any(re.search(rf"\b{re.escape(ending)}$", module) for ending in endings)


def _not_recognized(where: str, what: str = "this weight's place in its layer is not recognized") -> ModelError:
    return ModelError(
        what,
        where=where,
        hint='prune.criterion = "lookahead" knows layers of query, key, value, attention output and two feed-forward '
        "matrices, as in BERT, XLM-R and DistilBERT. Choose another criterion for this model.",
    )
