"""Pruning without training: what a layer becomes, and what both networks' inputs are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sdp.check import duration
from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.models.layers import prunable_weights
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.progress import Reporter
from sdp.pruning.layer_inputs import LayerInputs, inputs_by_group, layer_groups
from sdp.pruning.masks import sparsity_of
from sdp.pruning.one_shot import SOLVER_STEPS, UPDATES, prune_at_once, prune_layer
from sdp.recipe.pruning import PruneSection
from support.toy import toy_rows

OUT, IN, TOKENS = 12, 16, 300


def settings(sparsity: float, pattern: str = "unstructured", rows: int = 40) -> PruneSection:
    return PruneSection.model_validate(
        {"epochs": 0, "sparsity": sparsity, "pattern": pattern, "calibration_rows": rows}
    )


def layer(seed: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(IN, OUT, bias=bias)


def inputs_of(seed: int) -> torch.Tensor:
    """Correlated inputs with a mean, as those of an encoder."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(TOKENS, IN, generator=generator) @ torch.randn(IN, IN, generator=generator)
    return mixed + torch.randn(IN, generator=generator)


def sums(inputs: torch.Tensor, before: torch.Tensor, bias: bool = True) -> LayerInputs:
    now, then = (torch.cat([x, torch.ones(TOKENS, 1)], dim=1) if bias else x for x in (inputs, before))
    return LayerInputs((now.T @ now).double(), (then.T @ now).double())


@pytest.mark.parametrize("pattern", ["unstructured", "1x4", "2:4"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_has_less_error_than_its_masked_weights(pattern: str, bias: bool) -> None:
    own, inputs = layer(0, bias), inputs_of(1)
    wanted, dense = own(inputs).detach(), own.weight.detach().clone()
    sparsity = 0.5
    with torch.no_grad():
        mask = prune_layer(own, sums(inputs, inputs, bias), settings(sparsity, pattern))
    assert float(mask.float().mean()) == pytest.approx(1 - sparsity, abs=1 / mask.numel())
    assert not own.weight[~mask].any()
    if pattern == "2:4":
        assert (mask.unflatten(1, (-1, 4)).sum(dim=2) == 2).all()
    if pattern == "1x4":
        assert set(mask.unflatten(1, (-1, 4)).sum(dim=2).unique().tolist()) <= {0, 4}
    error = float((own(inputs) - wanted).square().mean().detach())
    plain = float((nn.functional.linear(inputs, dense * mask, own.bias) - wanted).square().mean().detach())
    assert error < 0.7 * plain
    # numpy's least squares with the same mask, row by row, is no better but for the damping.
    design = np.concatenate([inputs.numpy(), np.ones((TOKENS, 1))], axis=1) if bias else inputs.numpy()
    kept = np.concatenate([mask.numpy(), np.ones((OUT, 1), dtype=bool)], axis=1) if bias else mask.numpy()
    best = [
        np.linalg.lstsq(design[:, row], wanted[:, place].numpy(), rcond=None)[1].sum() for place, row in enumerate(kept)
    ]
    assert sum(best) / wanted.numel() <= error * 1.001
    assert error < 1.1 * sum(best) / wanted.numel()


def test_a_layer_makes_up_for_what_the_layers_before_it_changed() -> None:
    own, before = layer(2), inputs_of(3)
    # The pruned layers before it scale and shift: nothing is lost.
    now = before * 1.5 - 2
    wanted = own(before).detach()
    with torch.no_grad():
        prune_layer(own, sums(now, before), settings(0.0))
    assert float((own(now) - wanted).square().mean().sqrt().detach()) < 0.05 * float(wanted.std())


def test_check_counts_the_products_that_are_made() -> None:
    assert (UPDATES + 1) * SOLVER_STEPS == duration._REFIT_PRODUCTS


def test_the_sums_are_those_of_the_real_tokens_of_both_networks(toy_model: Path) -> None:
    tokenizer = load_tokenizer(toy_model)
    texts = [(text,) for text, _ in toy_rows(24, seed=1)]
    rows = TokenizedSplit(tokenize(texts, tokenizer, 32), np.zeros(24, dtype=np.int64))
    collator = Collator(tokenizer)

    def load() -> object:
        return load_pretrained(ModelFolder("toy", toy_model), "classification", ("a", "b"), torch.device("cpu")).eval()

    model, dense = load(), load()
    name = "bert.encoder.layer.1.output.dense.weight"
    with torch.no_grad():
        for parameter in model.bert.encoder.layer[0].parameters():
            parameter.mul_(0.9)
        batches = [collator([rows[index] for index in range(24)])]
        groups = layer_groups(dense, [name], batches[0])
        ((found,),) = (inputs.values() for inputs in inputs_by_group(model, dense, groups, batches))
        # Row by row, without padding.
        expected = [torch.zeros(65, 65).double(), torch.zeros(65, 65).double()]
        for index in range(24):
            batch = collator([rows[index]])
            inputs = {key: value for key, value in batch.items() if key not in ("labels", "index")}
            seen = []
            for network in (model, dense):
                states = network.bert(**inputs, output_hidden_states=True).hidden_states[1]
                block = network.bert.encoder.layer[1]
                mask = torch.ones_like(inputs["input_ids"])
                assert mask.shape == inputs["attention_mask"].shape
                attended = block.attention(states)[0]
                inner = block.intermediate(attended)[0]
                seen.append(torch.cat([inner, torch.ones(len(inner), 1)], dim=1).double())
            expected[0] += seen[0].T @ seen[0]
            expected[1] += seen[1].T @ seen[0]
    assert torch.allclose(found.gram, expected[0], rtol=1e-3, atol=1e-4)
    assert torch.allclose(found.cross, expected[1], rtol=1e-3, atol=1e-4)

    masks = prune_at_once(model, dense, rows, collator, settings(0.5), 0, Reporter(quiet=True))
    assert masks.keys() == prunable_weights(model).keys()
    assert sparsity_of(masks) == pytest.approx(0.5, abs=1e-3)
    assert all(not weight[~masks[name]].any() for name, weight in prunable_weights(model).items())
