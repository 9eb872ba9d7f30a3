"""Removing units: the smaller network computes what the masked one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sdp.errors import ModelError
from sdp.models.architectures import ARCHITECTURES, Architecture
from sdp.models.layers import prunable_weights
from sdp.models.removal import remove_units
from sdp.models.units import find_parts
from sdp.pruning.masks import apply_masks
from sdp.pruning.structured.unit_masks import kept_masks, kept_units
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.registry import default_runtime
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


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
@pytest.mark.parametrize(
    ("kind", "heads"),
    [("bert", (1, 2)), ("bert", (0, 2)), ("bert", (0, 0)), ("distilbert", (2, 1)), ("distilbert", (1, 0))],
)
@torch.no_grad()
def test_the_operators_compute_what_is_left(kind: str, heads: tuple[int, int], tmp_path: Path) -> None:
    """torch exports one head differently from several, and none is a constant."""
    model = tiny_model(kind, sparsity=0.9)
    parts = find_parts(model)
    count = {parts[0].name: heads[0], parts[2].name: heads[1], parts[1].name: 16, parts[3].name: 24}
    remove_units(model, parts, {part.name: torch.arange(part.units) < count[part.name] for part in parts})
    dense, encoded = tmp_path / "dense.onnx", tmp_path / "encoded.onnx"
    export_torch(model, dense, input_names=tuple(TOKENS))
    encode_model(dense, encoded, encoding="kernel", metadata={})
    found = [node.op_type for node in onnx.load(encoded).graph.node]
    assert found.count("PackedAttention") == sum(count > 0 for count in heads)
    assert "Attention" not in found
    feed = {name: value.numpy() for name, value in TOKENS.items()}
    logits = default_runtime().load(encoded).run(feed)
    np.testing.assert_allclose(logits, model(**TOKENS).logits.numpy(), rtol=1e-4, atol=1e-5)
