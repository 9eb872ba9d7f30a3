"""Units that are removed, as masks of the weights: so that a network keeps its shapes while it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sdp.models.units import Part
from sdp.pruning.masks import Masks


def kept_masks(parts: Sequence[Part], kept: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Masks:
    """Return the mask of each weight when some units are kept.

    Args:
        parts: of the model.
        kept: name of a part -> which units are kept, bool [units].
        weights: as from `prunable_weights`.

    Returns:
        name of a weight -> bool mask of its shape; weights without units are kept.
    """
    masks = {name: torch.ones(weight.shape, dtype=torch.bool, device=weight.device) for name, weight in weights.items()}
    for part in parts:
        gone = ~kept[part.name].cpu()
        for name, rows in part.rows.items():
            masks[name][rows[gone].flatten()] = False
        masks[part.output][:, part.columns[gone].flatten()] = False
    return masks


def kept_units(parts: Sequence[Part], masks: Masks) -> dict[str, Tensor]:
    """Return which units masks keep, bool [units] for each part by name: those that the output weight reads."""
    return {part.name: masks[part.output].any(dim=0).cpu()[part.columns].any(dim=1) for part in parts}
