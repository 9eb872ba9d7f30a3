"""What is read from a network: what its classifier reads, in every architecture, and nothing that no loss needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sdp.errors import ModelError
from sdp.losses.objective import Objective
from sdp.models.layers import prunable_weights
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.pruning.forward import Reader, classifier_head
from sdp.recipe.losses import AlignCosineLoss, CosineLoss, HiddenLoss
from support.toy import save_tiny_model

INPUTS = {
    "input_ids": torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]),
    "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
}
POOLED = CosineLoss(name="cosine", representation="pooled")


def load(folder: Path, kind: str = "bert", labels: tuple[str, ...] = ("a", "b", "c")):
    path = save_tiny_model(folder / kind, kind)
    return load_pretrained(ModelFolder(kind, path), "classification", labels, torch.device("cpu")).eval()


@pytest.mark.parametrize("kind", ["bert", "xlmr", "distilbert"])
def test_the_head_on_the_pooled_rows_gives_the_logits(kind: str, tmp_path: Path) -> None:
    model = load(tmp_path, kind)
    output = Reader(model, Objective("classification", (POOLED,), 2))(model, INPUTS)
    head = classifier_head(model)
    assert output.pooled.shape == (2, 32)
    assert torch.allclose(head(output.pooled), output.logits, atol=1e-6)
    assert (output.hidden, dict(output.weights)) == (None, {})
    assert not head._forward_pre_hooks, "the hook is gone after the pass"


def test_a_network_of_as_many_labels_as_features_reads_its_last_layer(tmp_path: Path) -> None:
    model = load(tmp_path, labels=tuple(map(str, range(32))))
    assert classifier_head(model) is model.classifier


def test_nothing_is_read_that_no_loss_needs(tmp_path: Path) -> None:
    model = load(tmp_path)
    output = Reader(model, Objective("classification"))(model, INPUTS)
    assert (output.hidden, output.pooled, dict(output.stored), dict(output.weights)) == (None, None, {}, {})


def test_hidden_states_start_with_the_embeddings_and_end_with_the_last_layer(tmp_path: Path) -> None:
    model = load(tmp_path)
    output = Reader(model, Objective("classification", (HiddenLoss(name="hidden"),), 2))(model, INPUTS)
    assert len(output.hidden) == 3
    assert torch.allclose(output.hidden[0], model.bert.embeddings(INPUTS["input_ids"]), atol=1e-6)
    assert torch.allclose(output.hidden[-1], model.bert(**INPUTS).last_hidden_state, atol=1e-6)
    assert output.pooled is None


def test_weights_are_the_models_own(tmp_path: Path) -> None:
    model = load(tmp_path)
    output = Reader(model, Objective("classification", (AlignCosineLoss(name="align-cosine"),), 2))(model, INPUTS)
    assert all(output.weights[name] is weight for name, weight in prunable_weights(model).items())
    assert output.hidden is None


def test_a_wrapper_of_the_network_can_run(tmp_path: Path) -> None:
    model = load(tmp_path)

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = model

        def forward(self, **inputs):
            return self.module(**inputs)

    output = Reader(model, Objective("classification", (POOLED,), 2))(Wrapper(), INPUTS)
    assert torch.allclose(classifier_head(model)(output.pooled), output.logits, atol=1e-6)


def test_a_model_without_such_a_head_is_reported(tmp_path: Path) -> None:
    model = load(tmp_path)
    model.classifier = nn.Sequential()
    with pytest.raises(ModelError, match="no linear layer of 3 outputs"):
        Reader(model, Objective("classification", (POOLED,), 2))
