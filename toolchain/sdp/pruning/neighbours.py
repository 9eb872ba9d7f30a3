"""Which weight matrices of an encoder layer are multiplied with each other, found by the names of the modules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sdp.errors import ModelError

# The first pattern that matches the end of a weight's name within its layer decides. BERT, RoBERTa, XLM-R, ELECTRA and
# MiniLM say query and output.dense; DistilBERT q_lin and ffn.lin1; MPNet attn.q and attn.o; DeBERTa query_proj.
ROLES = {
    "query": r"\b(query|q_lin|q|q_proj|query_proj)$",
    "key": r"\b(key|k_lin|k|k_proj|key_proj)$",
    "value": r"\b(value|v_lin|v|v_proj|value_proj)$",
    "attention output": r"\b(attention\.output\.dense|out_lin|o|out_proj)$",
    "feed-forward input": r"\b(intermediate\.dense|lin1|fc1)$",
    "feed-forward output": r"\b(output\.dense|lin2|fc2)$",
}
_IN_LAYER = re.compile(r"(?P<layer>.+?\.\d+)\.(?P<module>.+)\.weight")


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


def find_neighbours(names: Iterable[str]) -> dict[str, Neighbours]:
    """Pair the prunable weights of each encoder layer.

    value -> attention output: heads lie one after the other, so that row j of the value matrix makes exactly column j's
    input. feed-forward input -> output, with the activation between them. query <-> key: their rows of the same index
    are multiplied in q.k. Between attention output and feed-forward input stand a residual sum and a LayerNorm, which
    mix everything: no pair.

    Args:
        names: names of the parameters, as from `prunable_weights`.

    Raises:
        ModelError: a layer does not consist of these six matrices, or one is not recognized.
    """
    layers: dict[str, dict[str, str]] = {}
    for name in names:
        found = _IN_LAYER.fullmatch(name)
        roles = [role for role, ends in ROLES.items() if found is not None and re.search(ends, found["module"])]
        if found is None or not roles or roles[0] in layers.setdefault(found["layer"], {}):
            raise _not_recognized(name)
        layers[found["layer"]][roles[0]] = name
    neighbours = {}
    for layer, of in layers.items():
        if missing := [role for role in ROLES if role not in of]:
            raise _not_recognized(layer, f"no {' and no '.join(missing)} matrix was found")
        neighbours[of["query"]] = Neighbours(partner=of["key"])
        neighbours[of["key"]] = Neighbours(partner=of["query"])
        neighbours[of["value"]] = Neighbours(outputs=of["attention output"])
        neighbours[of["attention output"]] = Neighbours(inputs=of["value"])
        neighbours[of["feed-forward input"]] = Neighbours(outputs=of["feed-forward output"])
        neighbours[of["feed-forward output"]] = Neighbours(inputs=of["feed-forward input"])
    return neighbours


def _not_recognized(where: str, what: str = "this weight's place in its layer is not recognized") -> ModelError:
    return ModelError(
        what,
        where=where,
        hint='prune.criterion = "lookahead" knows layers of query, key, value, attention output and two feed-forward '
        "matrices, as in BERT, XLM-R and DistilBERT. Choose another criterion for this model.",
    )
