"""The structure of a layer's weights: which of them are multiplied with each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sdp.errors import ModelError
from sdp.models.architectures import Architecture
from sdp.models.layouts import PAIRED_ROLES
from sdp.models.roles import NOT_RECOGNIZED, roles_by_layer

_HINT = (
    'prune.criterion = "lookahead" knows layers of query, key, value, attention output and two feed-forward matrices, '
    "as in BERT, XLM-R and DistilBERT. Choose another criterion for this model."
)


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
    layers = roles_by_layer(names, architecture, _HINT)
    rotary = architecture is not None and architecture.rotary
    neighbours = {}
    for layer, of in layers.items():
        if other := next((name for role, name in of.items() if role not in PAIRED_ROLES), None):
            raise _not_recognized(other)
        if missing := [role for role in PAIRED_ROLES if role not in of]:
            raise _not_recognized(layer, f"no {' and no '.join(missing)} matrix was found")
        neighbours[of["query"]] = Neighbours(partner=None if rotary else of["key"])
        neighbours[of["key"]] = Neighbours(partner=None if rotary else of["query"])
        neighbours[of["value"]] = Neighbours(outputs=of["attention output"])
        neighbours[of["attention output"]] = Neighbours(inputs=of["value"])
        neighbours[of["feed-forward input"]] = Neighbours(outputs=of["feed-forward output"])
        neighbours[of["feed-forward output"]] = Neighbours(inputs=of["feed-forward input"])
    return neighbours


def _not_recognized(where: str, what: str = NOT_RECOGNIZED) -> ModelError:
    return ModelError(what, where=where, hint=_HINT)
