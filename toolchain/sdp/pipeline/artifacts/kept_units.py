"""kept_units.json, beside the config.json of a model from which units were removed: transformers has no place for it.

config.json keeps the sizes of the whole network, so that transformers alone refuses the smaller weights.
"""

from __future__ import annotations

from typing import Literal

from sdp.pipeline.artifacts.base import Artifact, Count, NotNegative, Stored

UnitKind = Literal["heads", "neurons"]


class KeptPart(Stored):
    """A part of a layer.

    Attributes:
        kind: "heads" or "neurons".
        of: units of the whole network.
        kept: the numbers of those that are left.
    """

    kind: UnitKind
    of: Count
    kept: tuple[NotNegative, ...]


class KeptUnits(Artifact):
    """The units that are left of a network.

    Attributes:
        parts: by name, in the order of the layers.
    """

    STAGE = "prune"
    FILE = "kept_units.json"

    parts: dict[str, KeptPart]
