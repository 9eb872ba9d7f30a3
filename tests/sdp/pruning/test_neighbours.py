"""Pairs of matrices in real models: what is scaled up in one and down in its neighbour must not change the output."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from sdp.errors import ModelError
from sdp.pruning.layers import prunable_weights
from sdp.pruning.neighbours import ROLES, find_neighbours

SIZES = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
# With leaky_relu a unit of the feed-forward layers can be scaled and is never dead; with gelu it cannot.
MODELS = {
    "bert": lambda: BertModel(BertConfig(hidden_act="leaky_relu", **SIZES)),
    "xlmr": lambda: XLMRobertaModel(XLMRobertaConfig(hidden_act="leaky_relu", **SIZES)),
    "electra": lambda: ElectraModel(ElectraConfig(hidden_act="leaky_relu", embedding_size=16, **SIZES)),
    "mpnet": lambda: MPNetModel(MPNetConfig(hidden_act="leaky_relu", **SIZES)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=30, dim=16, hidden_dim=24, n_layers=2, n_heads=4, activation="leaky_relu")
    ),
}
TOKENS = {"input_ids": torch.randint(5, 30, (3, 9), generator=torch.Generator().manual_seed(0))}


def small_model(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = MODELS[kind]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def scale_row(model: PreTrainedModel, name: str, row: int, factor: float) -> None:
    linear = model.get_submodule(name.removesuffix(".weight"))
    linear.weight[row] *= factor
    linear.bias[row] *= factor


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_a_row_and_its_neighbour_can_be_scaled_against_each_other(kind: str) -> None:
    model = small_model(kind)
    weights = prunable_weights(model)
    neighbours = find_neighbours(weights)
    assert set(neighbours) == set(weights)
    expected = model(**TOKENS).last_hidden_state
    pairs = 0
    for name, near in neighbours.items():
        for row in (0, 5, 15):
            if near.outputs or near.partner:
                scale_row(model, name, row, 4.0)
                assert not torch.allclose(model(**TOKENS).last_hidden_state, expected, atol=1e-4)
            if near.outputs:
                assert neighbours[near.outputs].inputs == name
                weights[near.outputs][:, row] /= 4
                pairs += 1
            if near.partner:
                assert neighbours[near.partner].partner == name
                scale_row(model, near.partner, row, 0.25)
                pairs += 1
            torch.testing.assert_close(model(**TOKENS).last_hidden_state, expected, atol=1e-5, rtol=1e-4)
    # Value, feed-forward input, query and key of two layers, three rows each.
    assert pairs == 4 * 2 * 3


def test_other_layers_are_told_with_what_is_missing() -> None:
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
    assert len(ROLES) == 6
