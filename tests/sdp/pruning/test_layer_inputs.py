"""Inputs of layers, group after group: against whole forward passes, for every kind of model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdp.errors import ModelError
from sdp.models.architectures import ARCHITECTURES
from sdp.models.layers import prunable_weights
from sdp.models.parts import block_of
from sdp.pruning.layer_inputs import (
    LayerInputs,
    inputs_by_group,
    layer_groups,
    linear_layers,
    set_weight_and_bias,
    weight_and_bias,
)
from support.tiny_models import tiny_model

KINDS = [row.model_type for row in ARCHITECTURES if not row.refused]


def batches() -> list[dict[str, Tensor]]:
    """Two batches of unlike length, the second one padded."""
    generator = torch.Generator().manual_seed(0)
    short = torch.randint(4, 40, (3, 5), generator=generator)
    long = torch.randint(4, 40, (2, 9), generator=generator)
    mask = torch.ones_like(long)
    mask[1, 6:] = 0
    long[1, 6:] = 1
    labels = torch.zeros(3)
    return [
        {"input_ids": short, "attention_mask": torch.ones_like(short), "labels": labels},
        {"input_ids": long, "attention_mask": mask, "labels": labels[:2]},
    ]


def whole_pass(model: Any, name: str, batch: dict[str, Tensor]) -> Tensor:
    """All inputs of a layer at the real tokens, with a 1 for its bias, by one forward pass of everything."""
    layer, seen = model.get_submodule(name.removesuffix(".weight")), []
    hook = layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    hook.remove()
    real = batch["attention_mask"].bool()
    rows = torch.cat([x[real] if x.shape[:-1] == real.shape else x.flatten(0, -2) for x in seen])
    return (torch.cat([rows, torch.ones(len(rows), 1)], dim=1) if layer.bias is not None else rows).double()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_each_group_sees_what_the_changed_ones_before_it_give(kind: str) -> None:
    model, dense = tiny_model(kind, sparsity=0.5), tiny_model(kind)
    names = list(prunable_weights(model))
    given = batches()
    before = [model(**{key: batch[key] for key in ("input_ids", "attention_mask")}).logits for batch in given]
    untouched = {name: weight.clone() for name, weight in prunable_weights(model).items()}
    seen = []
    groups = layer_groups(dense, names, given[0])
    for inputs in inputs_by_group(model, dense, groups, given):
        assert len({block_of(name) for name in inputs}) == 1
        # Of what the replay knows, nothing may be left in another copy of the network.
        fresh = tiny_model(kind)
        fresh.load_state_dict(model.state_dict())
        whole = tiny_model(kind)
        for name, found in inputs.items():
            now, then = (torch.cat([whole_pass(net, name, batch) for batch in given]) for net in (fresh, whole))
            torch.testing.assert_close(found.gram, now.T @ now, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(found.cross, then.T @ now, rtol=1e-3, atol=1e-3)
            model.get_parameter(name).mul_(1.3)
        seen += inputs
    assert sorted(seen) == sorted(names)
    for name, weight in untouched.items():
        model.get_parameter(name).copy_(weight)
    for batch, logits in zip(given, before, strict=True):
        assert torch.equal(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits, logits)


@torch.no_grad()
def test_several_processes_measure_what_one_measures() -> None:
    model, dense, given = tiny_model("bert", sparsity=0.5), tiny_model("bert"), batches()
    groups = layer_groups(dense, list(prunable_weights(model)), given[0])
    whole = {name: sums for group in inputs_by_group(model, dense, groups, given) for name, sums in group.items()}
    parts = [
        {name: sums for group in inputs_by_group(model, dense, groups, given, own=own) for name, sums in group.items()}
        for own in (slice(0, 1), slice(1, 2), slice(2, 2))
    ]
    for name, sums in whole.items():
        torch.testing.assert_close(sum(part[name].gram for part in parts), sums.gram, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(sum(part[name].cross for part in parts), sums.cross, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_bfloat16_is_near_and_the_sums_are_wide() -> None:
    model, dense, given = tiny_model("bert", sparsity=0.5), tiny_model("bert"), batches()
    groups = layer_groups(dense, list(prunable_weights(model)), given[0])
    exact, rough = (list(inputs_by_group(model, dense, groups, given, bf16=bf16)) for bf16 in (False, True))
    for group, other in zip(exact, rough, strict=True):
        for name, sums in group.items():
            assert other[name].gram.dtype == torch.float64
            assert not torch.equal(other[name].gram, sums.gram) or "layer.0.attention.self" in name
            assert float((other[name].gram - sums.gram).norm() / sums.gram.norm()) < 0.05


def test_layers_of_one_input_are_a_group_in_the_order_in_which_they_run() -> None:
    model = tiny_model("bert")
    with torch.no_grad():
        groups = layer_groups(model, list(prunable_weights(model)), batches()[0])
    assert [[name.split(".", 4)[4] for name in group.names] for group in groups[:4]] == [
        [f"attention.self.{role}.weight" for role in ("query", "key", "value")],
        ["attention.output.dense.weight"],
        ["intermediate.dense.weight"],
        ["output.dense.weight"],
    ]
    assert [(group.block, group.calls) for group in groups] == [
        (f"bert.encoder.layer.{layer}", calls) for layer in (0, 1) for calls in (3, 1, 1, 1)
    ]
    # XLM's attentions and feed-forward layers are in two lists, and run in turns.
    model = tiny_model("xlm")
    with torch.no_grad():
        groups = layer_groups(model, list(prunable_weights(model)), batches()[0])
    order = list(dict.fromkeys(group.block.rsplit(".", 2)[-2] for group in groups))
    assert order == ["attentions", "ffns"]
    assert [group.block.rsplit(".", 2)[-1] for group in groups] == sorted(group.block[-1] for group in groups)


def test_weight_and_bias_are_one_matrix() -> None:
    for bias in (True, False):
        layer = nn.Linear(3, 2, bias=bias)
        values = weight_and_bias(layer).detach() * 2
        assert values.shape == (2, 3 + bias)
        assert LayerInputs.zeros(layer).gram.shape == (3 + bias, 3 + bias)
        with torch.no_grad():
            set_weight_and_bias(layer, values)
        assert torch.equal(weight_and_bias(layer), values)


def test_layers_that_share_a_weight_are_refused() -> None:
    model = tiny_model("bert")
    first, second = (layer.intermediate.dense for layer in model.bert.encoder.layer)
    second.weight = first.weight
    with pytest.raises(ModelError, match=r"layer\.0\.intermediate.*layer\.1.* share a weight") as caught:
        linear_layers(model, prunable_weights(model))
    assert "prune.repair = false" in caught.value.hint


def test_a_layer_that_is_no_module_of_the_forward_pass_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("bert")
    monkeypatch.setattr(model.bert.encoder.layer[1].output.dense, "register_forward_pre_hook", ignored)
    with torch.no_grad(), pytest.raises(ModelError, match="without calling its module"):
        layer_groups(model, list(prunable_weights(model)), batches()[0])


def ignored(hook: object) -> Any:
    """A hook that nothing calls."""
    return nn.Linear(1, 1).register_forward_pre_hook(hook)
