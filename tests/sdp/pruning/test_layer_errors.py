"""What a pruned layer loses: against its outputs, computed row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.models.layers import prunable_weights
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.progress import Reporter
from sdp.pruning import layer_errors
from sdp.pruning.layer_errors import measure_losses, relative_errors
from sdp.pruning.masks import Pattern
from support.toy import toy_rows

OUT, IN, TOKENS = 12, 16, 200
LEVELS = (0.0, 0.3, 0.5, 0.9)


def weight_and_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(TOKENS, IN, generator=generator) @ torch.randn(IN, IN, generator=generator)
    return torch.randn(OUT, IN, generator=generator), mixed


@pytest.mark.parametrize("pattern", ["unstructured", "1x4"])
def test_the_error_is_that_of_the_outputs(pattern: Pattern) -> None:
    weight, inputs = weight_and_inputs()
    found = relative_errors(weight, inputs.T @ inputs, LEVELS, pattern)
    block = 4 if pattern == "1x4" else 1
    # The output of each block by itself, in numpy, and the lowest go.
    x, w = inputs.numpy().astype(np.float64), weight.numpy().astype(np.float64)
    alone = np.zeros((OUT, IN // block))
    for row in range(OUT):
        for place in range(IN // block):
            own = slice(place * block, (place + 1) * block)
            alone[row, place] = np.square(x[:, own] @ w[row, own]).sum()
    for level, error in zip(LEVELS, found, strict=True):
        kept = np.ones(alone.size, dtype=bool)
        kept[np.argsort(alone.ravel())[: round(level * alone.size)]] = False
        pruned = w * kept.reshape(alone.shape).repeat(block, axis=1)
        expected = np.square(x @ (w - pruned).T).sum() / np.square(x @ w.T).sum()
        assert error == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert found[0] == 0.0


def test_a_layer_without_outputs_loses_nothing() -> None:
    _, inputs = weight_and_inputs()
    assert relative_errors(torch.zeros(OUT, IN), inputs.T @ inputs, LEVELS, "unstructured") == [0.0] * 4


@pytest.mark.parametrize("memory", [2**30, 1])
def test_a_network_is_measured_at_its_real_tokens(
    memory: int, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_errors, "GRAM_BYTES", memory)
    tokenizer = load_tokenizer(toy_model)
    rows = TokenizedSplit(
        tokenize([(text,) for text, _ in toy_rows(12, seed=1)], tokenizer, 32), np.zeros(12, dtype=np.int64)
    )
    model = load_pretrained(ModelFolder("toy", toy_model), "classification", ("a", "b"), torch.device("cpu"))
    collator = Collator(tokenizer)
    batch = collator([rows[index] for index in range(12)])
    assert not batch["attention_mask"].all()
    found = measure_losses(model, [batch], LEVELS, "unstructured", Reporter(quiet=True))
    weights = prunable_weights(model)
    assert list(found) == list(weights)
    assert {loss.runs for loss in found.values()} == {1}
    name = "bert.encoder.layer.1.attention.self.value.weight"
    gram = torch.zeros(32, 32)
    with torch.no_grad():
        for index in range(12):
            alone = {key: values for key, values in collator([rows[index]]).items() if key not in ("labels", "index")}
            states = model.bert(**alone, output_hidden_states=True).hidden_states[1][0]
            gram += states.T @ states
        expected = relative_errors(weights[name], gram, LEVELS, "unstructured")
    assert found[name].errors == pytest.approx(expected, rel=1e-3)
