"""The operators on every instruction set of this machine, against the naive computation in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf, softmax

from sdp_onnx.errors import OperatorLibraryError
from sdp_onnx.operators.library import has_library, instruction_set
from sdp_onnx.operators.sparse_format import pack_sparse
from support import operators
from support.operators import INSTRUCTION_SETS, Arrays, linear_inputs, node, weight_arrays, weight_settings

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

RNG = np.random.default_rng(0)


def floats(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def sparse(out_features: int, in_features: int, density: float) -> NDArray[np.float32]:
    weight = floats(out_features, in_features) * (RNG.random((out_features, in_features)) < density)
    weight[out_features // 2] = 0  # an empty row
    return weight.astype(np.float32)


def gelu(x: NDArray[np.float64], form: str) -> NDArray[np.float64]:
    if form == "none":
        return x
    inner = erf(x / math.sqrt(2)) if form == "gelu" else np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return np.asarray(0.5 * x * (1 + inner))


def packed_linear(op_type: str, x: NDArray[np.float32], arrays: Arrays, **settings: object) -> NDArray[np.float32]:
    nodes = [
        node("Pack", ["x"], "p"),
        node(op_type, linear_inputs(op_type, x="p"), "q", **{"activation": "none"} | settings),
        node("Unpack", ["q", "tokens"], "y"),
    ]
    return operators.run(nodes, {**arrays, "tokens": np.array([x.shape[1]])}, {"x": x})


# Around the edges of groups (16 tokens), of register tiles (64), of slices (192 columns) and blocks (192 rows).
SHAPES = [(1, 4, 4), (15, 192, 20), (16, 193, 192), (17, 100, 196), (33, 400, 64), (65, 385, 388), (130, 64, 8)]


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sparse_fp32(isa: str, shape: tuple[int, int, int], density: float) -> None:
    tokens, in_features, out_features = shape
    packed = pack_sparse(weight := sparse(out_features, in_features, density))
    x, bias = floats(2, tokens, in_features), floats(out_features)
    got = packed_linear("SparseLinear", x, {**weight_arrays(packed), "bias": bias}, **weight_settings(packed))
    expected = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("form", ["gelu", "gelu_tanh"])
def test_activations(isa: str, form: str) -> None:
    packed = pack_sparse(np.eye(8, dtype=np.float32))
    x = np.concatenate([np.linspace(-12, 12, 8000), [1e4, -1e4, 1e-8, -1e-8] * 2]).astype(np.float32).reshape(1, -1, 8)
    arrays = {**weight_arrays(packed), "bias": np.zeros(8, np.float32)}
    got = packed_linear("SparseLinear", x, arrays, activation=form, **weight_settings(packed))
    np.testing.assert_allclose(got, gelu(x.astype(np.float64), form), rtol=1e-6, atol=1e-6)


def test_not_a_number_stays_visible_in_int8(isa: str) -> None:
    packed = pack_sparse(np.eye(8, dtype=np.int8))
    x = floats(1, 5, 8)
    x[0, 1, 5], x[0, 3, 0] = np.nan, np.inf
    arrays = {**weight_arrays(packed), "scale": np.ones(8, np.float32), "bias": np.zeros(8, np.float32)}
    got = packed_linear("SparseLinearInt8", x, arrays, **weight_settings(packed))
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(x).all(axis=-1, keepdims=True) & np.ones(8, bool))


@pytest.mark.parametrize("form", ["none", "gelu", "gelu_tanh"])
def test_not_a_number_stays_visible(isa: str, form: str) -> None:
    packed = pack_sparse(np.eye(8, dtype=np.float32))
    x = np.zeros((1, 3, 8), np.float32)
    x[0, 1, 5] = np.nan
    arrays = {**weight_arrays(packed), "bias": np.zeros(8, np.float32)}
    got = packed_linear("SparseLinear", x, arrays, activation=form, **weight_settings(packed))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(1, 4, 4), (17, 100, 196), (65, 1028, 388)], ids=str)
def test_sparse_int8(isa: str, shape: tuple[int, int, int], density: float) -> None:
    tokens, in_features, out_features = shape
    kept = np.repeat(RNG.random((out_features, in_features // 4)) < density, 4, axis=1)
    weight = (RNG.integers(-127, 128, (out_features, in_features)) * kept).astype(np.int8)
    packed = pack_sparse(weight)
    # Steps of 1/8, and off them by less than half a step: no quotient that could be rounded either way.
    steps = RNG.integers(-126, 127, (2, tokens, in_features))
    steps[..., 0] = -127
    steps[0, 0] = 0  # a token without a scale
    x = ((steps + RNG.uniform(-0.4, 0.4, steps.shape) * (abs(steps) < 127) * (steps != 0)) / 8).astype(np.float32)
    bias, scale = floats(out_features), RNG.random(out_features).astype(np.float32)
    arrays = {**weight_arrays(packed), "scale": scale, "bias": bias}
    got = packed_linear("SparseLinearInt8", x, arrays, **weight_settings(packed))
    expected = steps / 8 @ weight.T.astype(np.float64) * scale + bias
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def on_each_isa(monkeypatch: pytest.MonkeyPatch, run: Callable[[], NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The results on each instruction set of this machine but plain C++, which has no fused multiply-add."""
    results = []
    for name in INSTRUCTION_SETS:
        monkeypatch.setenv("SDP_KERNELS", name)
        try:
            instruction_set()
        except OperatorLibraryError:
            continue
        if name != "scalar":
            results.append(run())
    return results


def test_int8_gives_the_same_bits_with_and_without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = RNG.integers(-127, 128, (64, 512)).astype(np.int8)
    packed = pack_sparse(weight)
    # The largest products there are, which saturate 16 bits.
    x = np.where(RNG.random((1, 40, 512)) < 0.5, 3.0, -3.0).astype(np.float32) + floats(1, 40, 512) * 1e-3
    grouped = weight.reshape(4, 16, 128, 4).transpose(0, 2, 1, 3).copy()
    arrays = {**weight_arrays(packed), "grouped": grouped, "scale": np.ones(64, np.float32), "bias": floats(64)}
    sparse, dense = (
        on_each_isa(monkeypatch, lambda given=given: packed_linear(given, x, arrays, **weight_settings(packed)))
        for given in ("SparseLinearInt8", "DenseLinearInt8")
    )
    for result in [*sparse[1:], *dense]:
        np.testing.assert_array_equal(result, sparse[0])


@pytest.mark.parametrize("form", ["gelu", "gelu_tanh"])
def test_activations_give_the_same_bits_on_every_instruction_set(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    packed = pack_sparse(np.eye(8, dtype=np.float32))
    x = np.linspace(-15, 15, 80_000, dtype=np.float32).reshape(1, -1, 8)
    arrays = {**weight_arrays(packed), "bias": np.zeros(8, np.float32)}
    first, *others = on_each_isa(
        monkeypatch, lambda: packed_linear("SparseLinear", x, arrays, activation=form, **weight_settings(packed))
    )
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_int8_attention_gives_the_same_bits_with_and_without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, _ = attention_inputs(200, "padding")
    results = on_each_isa(monkeypatch, lambda: run_attention("PackedAttentionInt8", inputs))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("shape", [(1, 4, 16), (17, 100, 208), (33, 64, 192)], ids=str)
def test_dense(isa: str, shape: tuple[int, int, int]) -> None:
    tokens, in_features, out_features = shape
    weight, bias, x = floats(out_features, in_features), floats(out_features), floats(2, tokens, in_features)
    grouped = weight.reshape(-1, 16, in_features).transpose(0, 2, 1).copy()
    got = packed_linear(
        "DenseLinear", x, {"grouped": grouped, "bias": bias}, in_features=in_features, out_features=out_features
    )
    expected = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("shape", [(1, 4, 16), (17, 100, 208), (33, 64, 192)], ids=str)
def test_dense_int8(isa: str, shape: tuple[int, int, int]) -> None:
    tokens, in_features, out_features = shape
    weight = RNG.integers(-127, 128, (out_features, in_features)).astype(np.int8)
    steps = RNG.integers(-126, 127, (2, tokens, in_features))
    steps[..., 0] = -127
    x = (steps / 8).astype(np.float32)
    grouped = weight.reshape(-1, 16, in_features // 4, 4).transpose(0, 2, 1, 3).copy()
    arrays = {"grouped": grouped, "scale": RNG.random(out_features).astype(np.float32), "bias": floats(out_features)}
    settings = {"in_features": in_features, "out_features": out_features}
    got = packed_linear("DenseLinearInt8", x, arrays, **settings)
    expected = steps / 8 @ weight.T.astype(np.float64) * arrays["scale"] + arrays["bias"]
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("tokens", [1, 16, 150])
def test_residual_and_layer_norm(isa: str, tokens: int, threads: int) -> None:
    weight = sparse(388, 100, 0.2)
    packed = pack_sparse(weight)
    x, residual = floats(2, tokens, 100), floats(2, tokens, 388) + 3
    arrays = {**weight_arrays(packed), "bias": floats(388), "gamma": floats(388), "beta": floats(388)}
    nodes = [
        node("Pack", ["x"], "p"),
        node("Pack", ["r"], "s"),
        node(
            "SparseLinear",
            linear_inputs("SparseLinear", x="p", residual="s", gamma="gamma", beta="beta"),
            "q",
            activation="none",
            epsilon=1e-5,
            **weight_settings(packed),
        ),
        node("Unpack", ["q", "tokens"], "y"),
    ]
    got = operators.run(nodes, {**arrays, "tokens": np.array([tokens])}, {"x": x, "r": residual}, threads)
    summed = x.astype(np.float64) @ weight.T + arrays["bias"] + residual
    centred = summed - summed.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * arrays["gamma"] + arrays["beta"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


MASKS = ["none", "padding", "per query", "per head"]
BATCH, HEADS, SIZE = 3, 2, 8


def attention_inputs(tokens: int, mask: str) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """The inputs of an attention, and which key each query sees."""
    inputs: dict[str, NDArray[Any]] = {name: floats(BATCH, tokens, HEADS * SIZE) for name in "qkv"}
    seen = {
        "none": np.ones((1, 1, 1, tokens), bool),
        "padding": np.arange(tokens) < np.array([tokens, (tokens + 1) // 2, 1])[:, None, None, None],
        "per query": np.tri(tokens, dtype=bool)[None, None],
        "per head": RNG.random((BATCH, HEADS, tokens, tokens)) < 0.5,
    }[mask]
    seen[..., 0] = True  # a query that sees nothing has no answer
    return inputs | ({} if mask == "none" else {"mask": np.ascontiguousarray(seen)}), seen


def run_attention(op_type: str, inputs: Arrays, *, first_tokens: bool = False) -> NDArray[np.float32]:
    nodes = [
        *(node("Pack", [name], f"{name}p") for name in "qkv"),
        node(
            op_type,
            ["qp", "kp", "vp", "tokens", *(["mask"] if "mask" in inputs else [])],
            "o",
            heads=HEADS,
            head_size=SIZE,
            q_first=0,
            k_first=0,
            v_first=0,
            scale=0.5,
            first_tokens=int(first_tokens),
        ),
        node("Unpack", ["o", "rows"], "y"),
    ]
    batch, tokens, _ = inputs["q"].shape
    rows = batch if first_tokens else tokens
    return operators.run(nodes, {"tokens": np.array([tokens]), "rows": np.array([rows])}, inputs)


def by_head(array: NDArray[Any]) -> NDArray[np.float64]:
    return array.astype(np.float64).reshape(BATCH, -1, HEADS, SIZE).transpose(0, 2, 1, 3)


def side_by_side(heads: NDArray[np.float64]) -> NDArray[np.float64]:
    return heads.transpose(0, 2, 1, 3).reshape(BATCH, -1, HEADS * SIZE)


def expected_attention(inputs: Arrays, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    q, k, v = (by_head(inputs[name]) for name in "qkv")
    shares = softmax(np.where(seen, q @ k.transpose(0, 1, 3, 2) * 0.5, -np.inf), axis=-1)
    return side_by_side(shares @ v)


def rounded(array: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    scale = np.abs(array).max(axis=axis, keepdims=True) / 127
    return np.asarray(np.rint(array / scale) * scale)


def expected_int8_attention(inputs: Arrays, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The same with queries and keys rounded for each token, values for each feature, shares to 255 steps."""
    q, k, v = (by_head(inputs[name]) for name in "qkv")
    # Values that no query of the head sees do not count.
    anyone = np.broadcast_to(seen, (BATCH, HEADS, *seen.shape[2:])).any(axis=2) if seen.shape[2] == 1 else np.True_
    v = rounded(v * np.broadcast_to(anyone, v.shape[:3])[..., None], axis=2)
    scores = np.where(seen, rounded(q, axis=3) @ rounded(k, axis=3).transpose(0, 1, 3, 2) * 0.5, -np.inf)
    shares = np.rint(255 * np.exp(scores - scores.max(axis=-1, keepdims=True)))
    return side_by_side(shares / shares.sum(axis=-1, keepdims=True) @ v)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("tokens", [1, 16, 17, 49])
def test_attention(isa: str, tokens: int, mask: str) -> None:
    inputs, seen = attention_inputs(tokens, mask)
    got = run_attention("PackedAttention", inputs)
    np.testing.assert_allclose(got, expected_attention(inputs, seen), rtol=0, atol=2e-6)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("op_type", "tokens"), [("PackedAttention", 49), ("PackedAttentionInt8", 129)])
def test_attention_of_first_tokens_alone(isa: str, op_type: str, tokens: int, mask: str) -> None:
    inputs, _ = attention_inputs(tokens, mask)
    got = run_attention(op_type, inputs, first_tokens=True)
    np.testing.assert_array_equal(got[0], run_attention(op_type, inputs)[:, 0])


@pytest.mark.parametrize("batch", [1, 3, 16, 37])
@pytest.mark.parametrize("tokens", [1, 16, 49])
def test_first_tokens(batch: int, tokens: int) -> None:
    x = floats(batch, tokens, 12)
    nodes = [
        node("Pack", ["x"], "p"),
        node("FirstTokens", ["p", "tokens"], "f"),
        node("Unpack", ["f", "texts"], "y"),
    ]
    got = operators.run(nodes, {"tokens": np.array([tokens]), "texts": np.array([batch])}, {"x": x})
    np.testing.assert_array_equal(got[0], x[:, 0])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("tokens", [112, 129, 250])
def test_attention_int8(isa: str, tokens: int, mask: str) -> None:
    inputs, seen = attention_inputs(tokens, mask)
    got = run_attention("PackedAttentionInt8", inputs)
    if mask == "padding":  # the sequences with few keys are not rounded
        few = np.array([tokens, (tokens + 1) // 2, 1]) < 112
        np.testing.assert_allclose(got[few], expected_attention(inputs, seen)[few], rtol=0, atol=2e-6)
        got[few] = expected_int8_attention(inputs, seen)[few]
    error = got - expected_int8_attention(inputs, seen)
    # A share on the edge between two steps may be rounded either way: by 1/255 of a value of about 4.
    assert np.abs(error).max() < 0.02
    assert np.sqrt(np.mean(error**2)) < 5e-4
    assert np.sqrt(np.mean((got - expected_attention(inputs, seen)) ** 2)) < 0.02


@pytest.mark.parametrize("mask", MASKS)
def test_attention_int8_of_few_keys_is_exact(isa: str, mask: str) -> None:
    inputs, _ = attention_inputs(49, mask)
    got = run_attention("PackedAttentionInt8", inputs)
    np.testing.assert_array_equal(got, run_attention("PackedAttention", inputs))


def test_attention_int8_ignores_what_is_masked(isa: str) -> None:
    inputs, _ = attention_inputs(200, "padding")
    inputs["mask"] = np.arange(200) < np.full((BATCH, 1, 1, 1), 150)
    alone = {name: array[:, :150] for name, array in inputs.items() if name != "mask"}
    inputs["k"][:, 150:], inputs["v"][:, 150:] = 1e6, np.nan
    got = run_attention("PackedAttentionInt8", inputs)[:, :150]
    np.testing.assert_array_equal(got, run_attention("PackedAttentionInt8", alone))


@pytest.mark.parametrize("where", ["q", "k", "v"])
@pytest.mark.parametrize("op_type", ["PackedAttention", "PackedAttentionInt8"])
def test_attention_shows_what_is_not_a_number(isa: str, op_type: str, where: str) -> None:
    inputs, _ = attention_inputs(130, "none")
    inputs[where][1, 70, 3] = np.nan
    wrong = np.isnan(run_attention(op_type, inputs))
    expected = np.zeros_like(wrong)
    if where == "q":
        expected[1, 70, :SIZE] = True
    else:
        expected[1, :, 3 if where == "v" else slice(SIZE)] = True
    np.testing.assert_array_equal(wrong, expected)


@pytest.mark.parametrize("shape", [(3, 1), (1, 1, 1), (2, 15, 3), (2, 2, 33, 5)], ids=str)
def test_pack_and_unpack_are_inverse(isa: str, shape: tuple[int, ...]) -> None:
    x = floats(*shape)
    nodes = [node("Pack", ["x"], "p"), node("Unpack", ["p", "tokens"], "y")]
    got = operators.run(nodes, {"tokens": np.array([shape[-2]])}, {"x": x})
    np.testing.assert_array_equal(got, x.reshape(-1, *shape[-2:]))


def test_the_answer_does_not_depend_on_the_number_of_threads(isa: str) -> None:
    packed = pack_sparse(sparse(960, 400, 0.1))
    arrays = {**weight_arrays(packed), "bias": floats(960)}
    x = floats(1, 200, 400)
    nodes = [
        node("Pack", ["x"], "p"),
        node("SparseLinear", linear_inputs("SparseLinear", x="p"), "q", activation="gelu", **weight_settings(packed)),
    ]
    one, two, seven = (operators.run(nodes, arrays, {"x": x}, threads) for threads in (1, 2, 7))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, seven)
