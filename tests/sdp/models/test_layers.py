"""Which weights are pruned, in tiny models of several architectures, against lists written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
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
from sdp.models.layers import layer_classes, layer_count, prunable_weights
from sdp.models.parts import count_parts, is_prunable
from sdp.models.source import ModelFolder

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
