"""Removing units: the smaller network computes what the masked one does."""

from __future__ import annotations

import pytest
import torch

from sdp.errors import ModelError
from sdp.models.architectures import ARCHITECTURES, Architecture
from sdp.models.layers import prunable_weights
from sdp.models.removal import remove_units
from sdp.models.units import find_parts
from sdp.pruning.masks import apply_masks
from sdp.pruning.structured.unit_masks import kept_masks, kept_units
from support.tiny_models import tiny_model

REMOVABLE = [row for row in ARCHITECTURES if row.removable]
GENERATOR = torch.Generator().manual_seed(0)
TOKENS = {
    "input_ids": torch.randint(5, 40, (3, 9), generator=GENERATOR),
    "attention_mask": (torch.arange(9) < torch.tensor([[9], [5], [1]])).long(),
}


def chosen(units: int, removed: str, index: int) -> torch.Tensor:
    """Some units: every third is gone, or in some parts more than in others."""
    kept = torch.full((units,), removed != "all")
    if removed == "some" or (removed == "uneven" and index % 4 < 2):
        kept[::3] = False
    return kept


@pytest.mark.parametrize("removed", ["none", "some", "uneven", "all"])
@pytest.mark.parametrize("row", REMOVABLE, ids=lambda row: row.model_type)
@torch.no_grad()
def test_a_smaller_network_computes_what_the_masked_one_does(row: Architecture, removed: str) -> None:
    model = tiny_model(row.model_type).double().eval()
    parts = find_parts(model)
    assert {part.kind for part in parts} == set(row.removable)
    kept = {part.name: chosen(part.units, removed, index) for index, part in enumerate(parts)}
    weights = prunable_weights(model)
    masks = kept_masks(parts, kept, weights)
    apply_masks(weights, masks)
    found = kept_units(parts, masks)
    assert all(torch.equal(found[name], own) for name, own in kept.items())
    expected = model(**TOKENS).logits

    before = sum(weight.numel() for weight in weights.values())
    gone = sum(part.weights_of_a_unit(weights) * int((~kept[part.name]).sum()) for part in parts)
    remove_units(model, parts, kept)
    torch.testing.assert_close(model(**TOKENS).logits, expected)
    if removed == "all" and len(row.removable) == 2:
        with pytest.raises(ModelError, match="no linear weights"):
            prunable_weights(model)
    else:
        assert sum(weight.numel() for weight in prunable_weights(model).values()) == before - gone
