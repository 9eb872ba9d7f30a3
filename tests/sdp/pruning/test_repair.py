"""Repair: a layer against numpy's least squares on its tokens, and a whole network after a mask update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sdp.models.layers import prunable_weights
from sdp.pruning import repair
from sdp.pruning.layer_inputs import LayerInputs, weight_and_bias
from sdp.pruning.masks import Masks, apply_masks, select_masks
from sdp.pruning.repair import DAMPING, Repair, repair_layer
from support.tiny_models import tiny_model

OUT, IN, TOKENS = 6, 8, 120


def example(seed: int, density: float, bias: bool = True) -> tuple[nn.Linear, nn.Linear, Tensor, Tensor, Tensor]:
    """A pruned layer, the dense one, a mask, and the inputs of both, correlated and with a mean; float64."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    layer, dense = (nn.Linear(IN, OUT, bias=bias).double() for _ in range(2))
    mask = torch.rand(OUT, IN, generator=generator) < density
    with torch.no_grad():
        layer.weight.mul_(mask)
    mixed = torch.randn(TOKENS, IN, generator=generator).double() @ torch.randn(IN, IN, generator=generator).double()
    before = mixed + torch.randn(IN, generator=generator).double()
    return layer, dense, mask, before + 0.3 * torch.randn(TOKENS, IN, generator=generator).double(), before


def with_ones(inputs: Tensor, bias: bool) -> Tensor:
    return torch.cat([inputs, torch.ones(len(inputs), 1).double()], dim=1) if bias else inputs


def sums(now: Tensor, before: Tensor, bias: bool) -> LayerInputs:
    now, before = with_ones(now, bias), with_ones(before, bias)
    return LayerInputs(now.T @ now, before.T @ now)


def squared_errors(layer: nn.Linear, dense: nn.Linear, now: Tensor, before: Tensor) -> Tensor:
    """Of each output, over the tokens."""
    return (layer(now) - dense(before)).square().sum(dim=0).detach()


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_the_damped_least_squares_solution(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "SOLVER_STEPS", 200)
    layer, dense, mask, now, before = example(3, 0.5, bias)
    design, wanted = with_ones(now, bias).numpy(), dense(before).detach().numpy()
    start = weight_and_bias(layer).detach().clone().numpy()
    with torch.no_grad():
        repair_layer(layer, dense, sums(now, before, bias), mask)
    found = weight_and_bias(layer).detach().numpy()
    weight = np.sqrt(DAMPING * np.mean(np.sum(design**2, axis=0)))
    for row in range(OUT):
        kept = np.flatnonzero([*mask[row].tolist(), *[True] * bias])
        # Damping as more rows: a weight far from what it was is an error as well.
        left = np.concatenate([design[:, kept], weight * np.eye(len(kept))])
        right = np.concatenate([wanted[:, row], weight * start[row, kept]])
        expected = np.zeros(IN + bias)
        expected[kept] = np.linalg.lstsq(left, right, rcond=None)[0]
        np.testing.assert_allclose(found[row], expected, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), density=st.floats(0, 1), bias=st.booleans(), scale=st.floats(1e-3, 1e3))
def test_no_output_gets_worse_on_the_rows_that_are_measured(
    seed: int, density: float, bias: bool, scale: float
) -> None:
    layer, dense, mask, now, before = example(seed, density, bias)
    now, before = now * scale, before * scale
    worse = squared_errors(layer, dense, now, before)
    with torch.no_grad():
        repair_layer(layer, dense, sums(now, before, bias), mask)
    assert not layer.weight[~mask].count_nonzero()
    assert (squared_errors(layer, dense, now, before) <= worse * (1 + 1e-9) + 1e-12).all()


def batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, 40, (2, 16, 12), generator=generator)
    return [{"input_ids": part, "attention_mask": torch.ones_like(part)} for part in tokens]


def pruned(kind: str = "bert", sparsity: float = 0.5) -> tuple[Any, Any, Masks]:
    """A network whose weights were just pruned, the dense one, and the masks."""
    model, dense = tiny_model(kind), tiny_model(kind)
    weights = prunable_weights(model)
    masks = select_masks({name: weight.detach().abs() for name, weight in weights.items()}, sparsity, "layer")
    apply_masks(weights, masks)
    return model, dense, masks


@torch.no_grad()
def last_states(model: Any, given: list[dict[str, Tensor]]) -> Tensor:
    return torch.cat([model(**batch, output_hidden_states=True).hidden_states[-1] for batch in given])


# One weight for several layers; weights of all layers; two lists of blocks; other names.
@pytest.mark.parametrize("kind", ["albert", "bert", "xlm", "modernbert", "deberta-v2"])
def test_a_network_comes_nearer_to_the_dense_one(kind: str) -> None:
    model, dense, masks = pruned(kind)
    given = batches()
    wanted, before = last_states(dense, given), last_states(model, given)
    model.train()
    model.get_submodule(next(name for name, _ in model.named_modules() if name)).eval()
    flags = [module.training for module in model.modules()]
    untouched = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    of_dense = {name: parameter.detach().clone() for name, parameter in dense.named_parameters()}
    Repair(model, dense, given)(masks)
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(of_dense[name], parameter) for name, parameter in dense.named_parameters())
    changed = {name for name, value in model.named_parameters() if not torch.equal(untouched[name], value)}
    biases = {name.removesuffix("weight") + "bias" for name in masks}
    assert changed == masks.keys() | (biases & untouched.keys())
    for name, weight in prunable_weights(model).items():
        assert not weight[~masks[name]].count_nonzero()
        assert not torch.signbit(weight[~masks[name]]).any(), "exactly +0.0"
    model.eval()
    after = last_states(model, given)
    assert float((after - wanted).norm()) < 0.9 * float((before - wanted).norm())


def test_a_repair_is_the_same_each_time_and_draws_no_random_numbers() -> None:
    found = []
    for seed in (1, 2):
        model, dense, masks = pruned()
        repaired = Repair(model, dense, batches())
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        model.train()
        repaired(masks)
        assert torch.equal(torch.get_rng_state(), state)
        found.append({name: weight.detach() for name, weight in prunable_weights(model).items()})
    assert all(torch.equal(found[0][name], weight) for name, weight in found[1].items())


def test_what_is_not_pruned_needs_no_repair() -> None:
    model, dense, masks = pruned(sparsity=0.0)
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    Repair(model, dense, batches())(masks)
    for name, weight in prunable_weights(model).items():
        torch.testing.assert_close(weight.detach(), before[name], rtol=1e-3, atol=1e-4)
