"""Which weights are pruned, against lists written by hand; and pairs of matrices, in tiny models of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from sdp.errors import ModelError
from sdp.models.architectures import ARCHITECTURES, Architecture, find_architecture
from sdp.models.parts import count_parts, is_prunable
from sdp.models.source import ModelFolder
from sdp.pruning.structure import find_neighbours, layer_classes, layer_count, prunable_weights
from support.tiny_models import tiny_model

LAYERS = 3
SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}
BERT_LIKE = {
    "attention.self.query": (16, 16),
    "attention.self.key": (16, 16),
    "attention.self.value": (16, 16),
    "attention.output.dense": (16, 16),
    "intermediate.dense": (24, 16),
    "output.dense": (16, 24),
}
DISTILBERT = {
    "attention.q_lin": (16, 16),
    "attention.k_lin": (16, 16),
    "attention.v_lin": (16, 16),
    "attention.out_lin": (16, 16),
    "ffn.lin1": (24, 16),
    "ffn.lin2": (16, 24),
}
MPNET = {
    "attention.attn.q": (16, 16),
    "attention.attn.k": (16, 16),
    "attention.attn.v": (16, 16),
    "attention.attn.o": (16, 16),
    "intermediate.dense": (24, 16),
    "output.dense": (16, 24),
}


def build(kind: str) -> PreTrainedModel:
    if kind == "distilbert":
        return DistilBertForSequenceClassification(
            DistilBertConfig(vocab_size=50, dim=16, hidden_dim=24, n_layers=LAYERS, n_heads=2)
        )
    if kind == "electra":
        # A narrower embedding, as in ELECTRA small, has a projection that is not to be pruned.
        return ElectraForSequenceClassification(ElectraConfig(embedding_size=8, **SIZES))
    config_class, model_class = {
        "bert": (BertConfig, BertForSequenceClassification),
        "xlmr": (XLMRobertaConfig, XLMRobertaForSequenceClassification),
        "mpnet": (MPNetConfig, MPNetForSequenceClassification),
    }[kind]
    model: PreTrainedModel = model_class(config_class(**SIZES))
    return model


CASES = [
    ("bert", "bert.encoder.layer", BERT_LIKE),
    ("xlmr", "roberta.encoder.layer", BERT_LIKE),
    ("distilbert", "distilbert.transformer.layer", DISTILBERT),
    ("electra", "electra.encoder.layer", BERT_LIKE),
    ("mpnet", "mpnet.encoder.layer", MPNET),
]
KINDS = [kind for kind, _, _ in CASES]


@pytest.mark.parametrize(("kind", "stack", "matrices"), CASES, ids=KINDS)
def test_six_matrices_of_each_layer(kind: str, stack: str, matrices: dict[str, tuple[int, int]]) -> None:
    model = build(kind)
    found = prunable_weights(model)
    assert {name: tuple(weight.shape) for name, weight in found.items()} == {
        f"{stack}.{layer}.{name}.weight": shape for layer in range(LAYERS) for name, shape in matrices.items()
    }
    parameters = dict(model.named_parameters())
    assert all(weight is parameters[name] for name, weight in found.items()), "the model's own, not copies"
    assert [name for name in parameters if name in found] == list(found), "in the order of the model"


@pytest.mark.parametrize("kind", KINDS)
def test_the_count_from_file_headers_agrees(kind: str, tmp_path: Path) -> None:
    model = build(kind)
    found = prunable_weights(model)
    assert {name for name, value in model.named_parameters() if is_prunable(name, value.dim())} == found.keys()
    model.save_pretrained(tmp_path)
    counted = count_parts(ModelFolder(kind, tmp_path))
    assert counted.prunable == {name: weight.numel() for name, weight in found.items()}
    assert counted.total == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_layer_count(kind: str) -> None:
    assert layer_count(build(kind)) == LAYERS


def test_one_layer() -> None:
    model = BertForSequenceClassification(BertConfig(**(SIZES | {"num_hidden_layers": 1})))
    assert len(prunable_weights(model)) == 6


def test_a_matrix_outside_of_the_layers_is_refused() -> None:
    model = build("bert")
    model.bert.extra = torch.nn.Linear(16, 16)
    with pytest.raises(ModelError, match=r"cannot prune bert models: bert\.extra\.weight is no") as caught:
        prunable_weights(model)
    assert "xlm-roberta" in caught.value.hint


def test_a_convolution_in_a_layer_is_refused() -> None:
    model = build("bert")
    model.bert.encoder.layer[1].conv = torch.nn.Conv1d(16, 16, 3)
    with pytest.raises(ModelError, match=r"layer.1.conv.weight .* of Conv1d"):
        prunable_weights(model)


def test_a_model_without_layers_is_refused() -> None:
    model = build("bert")
    model.bert.encoder.layer = torch.nn.ModuleList()
    with pytest.raises(ModelError, match="no linear weights of encoder layers"):
        prunable_weights(model)


def test_the_classes_of_the_layers() -> None:
    assert layer_classes(build("bert")) == ["BertLayer"]


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
