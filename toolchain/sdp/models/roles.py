"""What each linear weight of an encoder layer does, by its name. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sdp.errors import ModelError
from sdp.models.architectures import ANY_LAYOUT, Architecture
from sdp.models.layouts import PAIRED_ROLES, Role

NOT_RECOGNIZED = "this weight's place in its layer is not recognized"

_IN_LAYER = re.compile(r"(?P<layer>.+?\.\d+)\.(?P<module>.+)\.weight")


def roles_by_layer(names: Iterable[str], architecture: Architecture | None, hint: str) -> dict[str, dict[Role, str]]:
    """Find what each weight does in its layer.

    Args:
        names: names of the parameters, as from `prunable_weights`.
        architecture: the model's row; without one the names of all kinds are tried.
        hint: of the error.

    Returns:
        layer -> role -> name of the weight.

    Raises:
        ModelError: a weight has no role, or two of a layer have the same.
    """
    roles = (ANY_LAYOUT if architecture is None else architecture.layout).roles
    # The first that matches: "attention.output.dense" also ends as the feed-forward output does.
    ordered = sorted(roles, key=lambda role: PAIRED_ROLES.index(role) if role in PAIRED_ROLES else len(PAIRED_ROLES))
    layers: dict[str, dict[Role, str]] = {}
    for name in names:
        found = _IN_LAYER.fullmatch(name)
        role = next((role for role in ordered if found and _ends(found["module"], roles[role])), None)
        if found is None or role is None or role in layers.setdefault(found["layer"], {}):
            raise ModelError(NOT_RECOGNIZED, where=name, hint=hint)
        layers[found["layer"]][role] = name
    return layers


def _ends(module: str, endings: tuple[str, ...]) -> bool:
    """Whether the path of a module ends with one of these, at the beginning of a word."""
    return any(re.search(rf"\b{re.escape(ending)}$", module) for ending in endings)
