"""Int8 arithmetic in torch: against numpy's integers, against the operators themselves, and its straight-through
gradients against those of the same products with rounded values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sdp.compat.torch import int8_product
from sdp.models.int8_arithmetic import int8_attention, int8_linear, round_inputs, round_rows, rounded_rows
from sdp_onnx.operators import weight_formats
from sdp_onnx.operators.library import has_library
from sdp_onnx.operators.sparse_format import pack_sparse
from support import operators
from support.operators import linear_inputs, node, weight_arrays, weight_settings

needs_library = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.floats(1e-6, 1e6), st.integers(0, 100))
def test_weights_are_rounded_as_the_exporter_rounds_them(rows: int, columns: int, size: float, seed: int) -> None:
    weight = normal(rows, columns, seed=seed) * size
    weight[:, ::3] = 0
    integers, scale = round_rows(weight)
    expected, expected_scale = weight_formats.round_rows(weight.numpy())
    np.testing.assert_array_equal(integers.numpy(), expected)
    np.testing.assert_array_equal(scale[:, 0].numpy(), expected_scale)
    assert not integers[:, ::3].any()
    assert rounded_rows(weight).equal(integers * scale)


def test_inputs_are_rounded_to_the_nearest_step_of_their_token() -> None:
    x = normal(5, 24)
    x[2] = 0
    integers, scale = round_inputs(x)
    assert integers.abs().amax(1).tolist() == [127, 127, 0, 127, 127]
    assert (x - integers * scale).abs().le(scale / 2 * 1.0001).all()
    assert not (integers * scale)[2].any()
    by_feature, _ = round_inputs(x, dim=0)
    assert by_feature.abs().amax(0).tolist() == [127] * 24


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 8, 12), (17, 4096, 20), (0, 8, 8)])
def test_the_product_of_integers_is_exact(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rows, inputs, outputs = shape
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randint(-127, 128, (n, inputs), generator=generator).to(torch.int8) for n in (rows, outputs))
    expected = (left.long() @ right.long().T).float()
    assert int8_product(left, right).equal(expected)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with torch.autocast("cpu", torch.bfloat16):
        assert int8_product(left, right).equal(expected)


def linear_by_integers(x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any]) -> NDArray[np.float64]:
    """Sums of whole numbers, times both scales, token by token."""
    integers, scale = weight_formats.round_rows(weight)
    out = np.empty((len(x), len(weight)))
    for token, values in enumerate(x.astype(np.float64)):
        step = np.abs(values).max() / 127
        rounded = np.rint(values / step).astype(np.int64)
        out[token] = (integers.astype(np.int64) @ rounded) * scale.astype(np.float64) * step + bias
    return out


def test_a_linear_layer_is_sums_of_whole_numbers() -> None:
    x, weight, bias = normal(7, 48), normal(20, 48, seed=1), normal(20, seed=2)
    got = int8_linear(x, weight, bias).numpy()
    np.testing.assert_allclose(got, linear_by_integers(x.numpy(), weight.numpy(), bias.numpy()), rtol=1e-5, atol=1e-5)
    assert int8_linear(x.view(1, 7, 48), weight, None).equal(int8_linear(x, weight, torch.zeros(20))[None])


@needs_library
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_linear_layer_is_what_the_operator_computes(kind: str) -> None:
    x, weight, bias = normal(2, 33, 768), normal(64, 768, seed=1), normal(64, seed=2)
    if kind == "sparse":
        weight = weight * (normal(64, 192, seed=3).repeat_interleave(4, dim=1) > 1.2)
    integers, scale = weight_formats.round_rows(weight.numpy())
    arrays: dict[str, NDArray[Any]] = {"bias": bias.numpy(), "scale": scale}
    sizes: dict[str, int] = {"in_features": 768, "out_features": 64}
    if kind == "sparse":
        packed = pack_sparse(integers)
        arrays, sizes = arrays | weight_arrays(packed), weight_settings(packed)
    else:
        arrays["grouped"] = np.ascontiguousarray(integers.reshape(4, 16, 192, 4).transpose(0, 2, 1, 3))
    name = f"{kind.capitalize()}LinearInt8"
    nodes = [
        node("Pack", ["x"], "p"),
        node(name, linear_inputs(name, x="p"), "q", activation="none", **sizes),
        node("Unpack", ["q", "tokens"], "y"),
    ]
    expected = operators.run(nodes, arrays | {"tokens": np.array([33])}, {"x": x.numpy()})
    got = int8_linear(x, weight, bias).numpy()
    error = np.abs(got - expected) / np.abs(expected).max()
    # An input half way between two steps may go either way, where a multiplication and an addition are one instruction.
    assert np.mean(error < 1e-6) > 0.95
    assert error.max() < 1e-3


@pytest.mark.parametrize("bf16", [False, True])
def test_gradients_of_a_linear_layer_pass_the_rounding(bf16: bool) -> None:
    x, weight, bias = normal(3, 5, 16), normal(8, 16, seed=1), normal(8, seed=2)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    upstream = normal(3, 5, 8, seed=3)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = int8_linear(x, weight, bias)
    found = torch.autograd.grad(out, inputs, upstream)
    integers, scale = round_inputs(x.detach())
    rounded = [integers * scale, rounded_rows(weight.detach()), bias.detach()]
    same = [tensor.requires_grad_() for tensor in rounded]
    plain = functional.linear(*same)
    torch.testing.assert_close(out, plain)
    for own, expected in zip(found, torch.autograd.grad(plain, same, upstream), strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own, expected, rtol=0, atol=(0.05 if bf16 else 1e-5) * float(expected.abs().max()))


def test_lower_precision_and_training_change_nothing_of_the_forward_pass() -> None:
    x, weight = normal(3, 5, 16), normal(8, 16, seed=1)
    expected = int8_linear(x, weight, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert int8_linear(x, weight, None).equal(expected)
    assert int8_linear(x.requires_grad_(), weight.requires_grad_(), None).equal(expected)
    # A frozen weight takes no gradient, nor does an input without one.
    int8_linear(normal(2, 16), weight, None).sum().backward()
    assert weight.grad is not None


HEADS, SIZE, SCALE = 3, 16, 0.3


def attention_case(tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    query, key, value = (normal(2, HEADS, tokens, SIZE, seed=seed) for seed in range(3))
    visible = torch.arange(tokens) < torch.tensor([[tokens], [tokens - 9]])
    return query, key, value, visible


def attention_of_rounded(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """Float attention, whose shares are rounded where the gradient does not see it."""
    seen = visible[:, None, None, :]
    scores = (query @ key.transpose(2, 3) * SCALE).masked_fill(~seen, -math.inf)
    shares = (255 * (scores - scores.amax(-1, keepdim=True)).exp()).round()
    return (shares / shares.sum(-1, keepdim=True)).detach() @ value


def rounded(x: Tensor, dim: int = -1) -> Tensor:
    integers, scale = round_inputs(x, dim)
    return integers * scale


def test_attention_is_that_of_rounded_values() -> None:
    query, key, value, visible = attention_case(40)
    values = rounded(value * visible[:, None, :, None], dim=2)
    expected = attention_of_rounded(rounded(query), rounded(key), values, visible)
    error = int8_attention(query, key, value, visible, SCALE) - expected
    # The operators' power of two is good to 1.5e-4, which is seen where a share is on the edge between two steps.
    assert error.abs().max() < 0.02
    assert error.square().mean().sqrt() < 5e-4


@needs_library
@pytest.mark.parametrize("tokens", [121, 250])
def test_attention_is_what_the_operator_computes(tokens: int) -> None:
    query, key, value, visible = attention_case(tokens)
    names, parts = "qkv", (query, key, value)
    arrays = {n: p.transpose(1, 2).reshape(2, tokens, -1).numpy() for n, p in zip(names, parts, strict=True)}
    shape: dict[str, Any] = {"heads": HEADS, "head_size": SIZE, "q_first": 0, "k_first": 0, "v_first": 0}
    nodes = [
        *(node("Pack", [name], f"{name}p") for name in names),
        node("PackedAttentionInt8", ["qp", "kp", "vp", "tokens", "mask"], "o", scale=SCALE, **shape),
        node("Unpack", ["o", "tokens"], "y"),
    ]
    mask = visible[:, None, None, :].numpy()
    expected = operators.run(nodes, {"tokens": np.array([tokens])}, arrays | {"mask": mask})
    got = int8_attention(query, key, value, visible, SCALE).transpose(1, 2).reshape(2, tokens, -1).numpy()
    error = np.abs(got - expected) / np.abs(expected).max()
    assert np.mean(error < 1e-6) > 0.95
    assert error.max() < 5e-3


def test_gradients_of_attention_are_those_with_its_rounded_values() -> None:
    query, key, value, visible = attention_case(20)
    inputs = [tensor.requires_grad_() for tensor in (query, key, value)]
    upstream = normal(2, HEADS, 20, SIZE, seed=5)
    out = int8_attention(query, key, value, visible, SCALE)
    found = torch.autograd.grad(out, inputs, upstream)
    hidden = visible[:, None, :, None]
    same = [rounded(query), rounded(key), rounded(value * hidden, dim=2)]
    same = [tensor.detach().requires_grad_() for tensor in same]
    plain = functional.scaled_dot_product_attention(*same, attn_mask=visible[:, None, None, :], scale=SCALE)
    for own, expected in zip(found, torch.autograd.grad(plain, same, upstream), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=0.01 * float(expected.abs().max()))
    assert not found[1].masked_select(~hidden).any()
    assert not found[2].masked_select(~hidden).any()


def test_dropped_shares_are_dropped_in_both_directions() -> None:
    query, key, value, visible = attention_case(30)
    value.requires_grad_()
    torch.manual_seed(0)
    out = int8_attention(query, key, value, visible, SCALE, dropout=0.4)
    upstream = normal(2, HEADS, 30, SIZE, seed=5)
    (gradient,) = torch.autograd.grad(out, [value], upstream)
    values = rounded(value.detach() * visible[:, None, :, None], dim=2)
    # The output is linear in the values.
    torch.testing.assert_close((out * upstream).sum(), (gradient * values).sum(), rtol=1e-4, atol=1e-3)
    whole = int8_attention(query, key, value, visible, SCALE)
    assert not torch.allclose(out, whole)
    torch.manual_seed(0)
    assert int8_attention(query, key, value, visible, SCALE, dropout=0.4).equal(out)
