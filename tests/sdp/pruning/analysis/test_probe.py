"""A look at a network: what it reads, in which order, and that it leaves no trace."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.data.rows import Split
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pruning.analysis.probe import Probe, labelled
from support.toy import toy_rows

ROWS = 21


@pytest.fixture
def model(toy_model: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    folder = ModelFolder("toy", toy_model)
    return load_pretrained(folder, "classification", ("neg", "pos"), torch.device("cpu"))


@pytest.fixture
def rows(toy_model: Path) -> TokenizedSplit:
    texts = toy_rows(ROWS, seed=5)
    labels = np.array([int(label == "pos") for _, label in texts])
    split = Split("dev", tuple((text,) for text, _ in texts), labels, ("",) * ROWS)
    return TokenizedSplit(tokenize(split.texts, load_tokenizer(toy_model), 32), labels)


def alone(model: PreTrainedModel, row: dict[str, list[int]]) -> Any:
    """The model on a single row, without padding."""
    with torch.no_grad():
        return model(**{name: torch.tensor([ids]) for name, ids in row.items()}, output_hidden_states=True)


def test_it_reads_every_row_as_if_it_were_alone(toy_model: Path, model: PreTrainedModel, rows: TokenizedSplit) -> None:
    asked: list[np.ndarray] = []

    def score(logits: np.ndarray) -> float:
        asked.append(logits)
        return 0.5

    reading = Probe(model, rows, Collator(load_tokenizer(toy_model)), 4, score)()
    model.eval()
    for place, row in enumerate(rows.rows):
        single = alone(model, row)
        mean = single.hidden_states[-1][0].mean(dim=0).numpy()
        assert np.allclose(reading.rows[place], mean, atol=1e-5)
        assert np.allclose(reading.logits[place], single.logits[0].numpy(), atol=1e-5)
    assert np.array_equal(reading.labels, rows.labels)
    assert np.array_equal(asked[0], reading.logits), "the metric is of the rows in their order"
    assert reading.metric == 0.5


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_no_trace(toy_model: Path, model: PreTrainedModel, rows: TokenizedSplit, training: bool) -> None:
    probe = Probe(model.train(training), rows, Collator(load_tokenizer(toy_model)), 8, lambda _: 0.0)
    states = [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    first = probe()
    assert states == [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert np.array_equal(first.rows, probe().rows), "no dropout"


def test_it_does_not_run_the_forward_that_accelerate_put_into_bf16(
    toy_model: Path, model: PreTrainedModel, rows: TokenizedSplit
) -> None:
    probe = Probe(model, rows, Collator(load_tokenizer(toy_model)), 8, lambda _: 0.0)
    before = probe()
    plain = model.forward

    def in_bf16(*arguments: Any, **options: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return plain(*arguments, **options)

    model.forward = in_bf16
    assert not torch.equal(alone(model.eval(), rows.rows[0]).logits, torch.from_numpy(before.logits[:1]))
    assert np.array_equal(probe().logits, before.logits)


def test_labelled_tokens_are_those_of_a_double_loop() -> None:
    hidden, logits = torch.randn(2, 3, 4), torch.randn(2, 3, 5)
    labels, real = torch.tensor([[-100, 2, 0], [-100, 1, -100]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    rows, words, ids = labelled(hidden, logits, labels, real)
    places = [(b, t) for b in range(2) for t in range(3) if labels[b, t] != -100]
    assert torch.equal(rows, torch.stack([hidden[place] for place in places]))
    assert torch.equal(words, torch.stack([logits[place] for place in places]))
    assert ids.tolist() == [2, 0, 1]


def test_a_tagger_is_read_at_its_labelled_tokens_in_the_order_of_the_rows(
    toy_model: Path, rows: TokenizedSplit
) -> None:
    torch.manual_seed(0)
    tagger = AutoModelForTokenClassification.from_pretrained(toy_model, num_labels=3)
    labels: Any = [
        np.array([-100, *[(place + token) % 4 - 1 for token in range(len(row["input_ids"]) - 2)], -100])
        for place, row in enumerate(rows.rows)
    ]
    for one in labels:
        one[one == -1] = -100
    collator = Collator(load_tokenizer(toy_model))
    reading = Probe(tagger, TokenizedSplit(rows.rows, labels), collator, 4, lambda logits: float(len(logits)))()
    expected = [(row, token) for row in range(ROWS) for token in np.flatnonzero(labels[row] != -100)]
    assert reading.metric == len(expected) == len(reading.rows)
    tagger.eval()
    for place, (row, token) in enumerate(expected):
        single = alone(tagger, rows.rows[row])
        assert np.allclose(reading.rows[place], single.hidden_states[-1][0, token].numpy(), atol=1e-5)
        assert np.allclose(reading.logits[place], single.logits[0, token].numpy(), atol=1e-5)
        assert reading.labels[place] == labels[row][token]
