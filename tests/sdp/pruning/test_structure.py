"""Pairs of matrices: what is scaled up in one and down in its neighbour must not change a model's output."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.architectures import ARCHITECTURES, Architecture, find_architecture
from sdp.models.layers import prunable_weights
from sdp.pruning.structure import find_neighbours
from support.tiny_models import tiny_model

PAIRED = [row for row in ARCHITECTURES if row.lookahead and not row.refused]
TOKENS = {"input_ids": torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(0))}


def base_model(kind: str) -> PreTrainedModel:
    """With leaky_relu a unit of the feed-forward layers can be scaled and is never dead; with gelu it cannot."""
    activation = "activation" if kind == "distilbert" else "hidden_act"
    model: PreTrainedModel = tiny_model(kind, **{activation: "leaky_relu"}).base_model.double()
    return model


def scale_row(model: PreTrainedModel, name: str, row: int, factor: float) -> None:
    linear = model.get_submodule(name.removesuffix(".weight"))
    linear.weight[row] *= factor
    if linear.bias is not None:
        linear.bias[row] *= factor


@pytest.mark.parametrize("row", PAIRED, ids=lambda row: row.model_type)
@torch.no_grad()
def test_a_row_and_its_neighbour_can_be_scaled_against_each_other(row: Architecture) -> None:
    """What is scaled up in one matrix and down in its neighbour does not change the output."""
    model = base_model(row.model_type)
    weights = prunable_weights(model)
    neighbours = find_neighbours(weights, row)
    assert set(neighbours) == set(weights)
    expected = model(**TOKENS).last_hidden_state
    pairs = 0
    for name, near in neighbours.items():
        # ESM has its own activation, whatever its config says.
        if row.model_type == "esm" and name.endswith("intermediate.dense.weight"):
            continue
        for unit in (0, 5, 15):
            if near.outputs or near.partner:
                scale_row(model, name, unit, 4.0)
                assert not torch.allclose(model(**TOKENS).last_hidden_state, expected, atol=1e-6)
            if near.outputs:
                assert neighbours[near.outputs].inputs == name
                weights[near.outputs][:, unit] /= 4
                pairs += 1
            if near.partner:
                assert neighbours[near.partner].partner == name
                scale_row(model, near.partner, unit, 0.25)
                pairs += 1
            torch.testing.assert_close(model(**TOKENS).last_hidden_state, expected, atol=1e-9, rtol=1e-7)
    # Value, feed-forward input, query and key of each layer, three rows each.
    layers = len(weights) // 6
    assert pairs == 3 * layers * (4 - 2 * row.rotary - (row.model_type == "esm"))


@pytest.mark.parametrize("row", [row for row in ARCHITECTURES if not row.refused], ids=lambda row: row.model_type)
def test_lookahead_knows_the_kinds_whose_rows_say_so(row: Architecture) -> None:
    names = list(prunable_weights(tiny_model(row.model_type)))
    if row.lookahead:
        assert len(find_neighbours(names, row)) == len(names)
    else:
        with pytest.raises(ModelError, match=r"not recognized|no feed-forward input"):
            find_neighbours(names, row)


def test_a_kind_without_a_row_is_read_by_the_names_of_all() -> None:
    for kind in ("bert", "distilbert", "mpnet", "deberta-v2", "albert"):
        names = list(prunable_weights(tiny_model(kind)))
        assert find_neighbours(names) == find_neighbours(names, find_architecture(kind))


def test_other_layers_are_reported_with_what_is_missing() -> None:
    layer = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("query", "key", "value", "mixer")})
    names = [f"encoder.layer.0.{name}" for name, _ in layer.named_parameters() if name.endswith("weight")]
    with pytest.raises(ModelError, match=r"encoder\.layer\.0\.mixer\.weight: this weight's place"):
        find_neighbours(names)
    with pytest.raises(ModelError, match=r"encoder\.layer\.0: no attention output and no feed-forward input"):
        find_neighbours(names[:3])
    with pytest.raises(ModelError, match="not recognized"):
        find_neighbours(["query.weight"])
    with pytest.raises(ModelError, match="not recognized"):
        find_neighbours(["l.0.a.query.weight", "l.0.b.query.weight"])
