"""Save and load models from which units were removed; see `pipeline.artifacts.kept_units`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.removal import remove_units
from sdp.models.units import Part, find_parts
from sdp.pipeline.artifacts.kept_units import KeptPart, KeptUnits


def save_kept_units(parts: Sequence[Part], kept: Mapping[str, Tensor], folder: Path) -> None:
    """Write kept_units.json.

    Args:
        parts: of the whole network.
        kept: name of a part -> which units are left, bool [units].
        folder: of the smaller model.
    """
    own = {
        part.name: KeptPart(kind=part.kind, of=part.units, kept=tuple(kept[part.name].nonzero().flatten().tolist()))
        for part in parts
    }
    KeptUnits(parts=own).store(folder)


def read_kept_units(folder: Path) -> KeptUnits | None:
    """Read kept_units.json; None where there is none.

    Raises:
        RunError: it is damaged.
    """
    return KeptUnits.read(folder / KeptUnits.FILE)


def make_smaller(model: PreTrainedModel, stored: KeptUnits, where: Path) -> None:
    """Remove as many units from a whole network as are missing in a stored one, whose weights then fit.

    Raises:
        ModelError: the network has other parts.
    """
    parts = find_parts(model)
    if {part.name: part.units for part in parts} != {name: part.of for name, part in stored.parts.items()}:
        raise ModelError("the units are not those of the model", where=str(where / KeptUnits.FILE), hint="Prune again.")
    counts = {name: len(part.kept) for name, part in stored.parts.items()}
    # transformers makes models on a device without memory, and this is no part of one.
    with torch.device("cpu"):
        remove_units(model, parts, {part.name: torch.arange(part.units) < counts[part.name] for part in parts})
