"""The operators on every instruction set of this machine, against the naive computation in float64."""

from __future__ import annotations

import math
import platform

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf, softmax

import operators
from operators import Arrays, node, weight_arrays, weight_settings
from sdp_onnx.errors import OperatorLibraryError
from sdp_onnx.operator_library import has_library, instruction_set
from sdp_onnx.sparse_format import pack_sparse

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

KNOWN = {"x86_64": ["avx512vnni", "avx512", "avx2", "scalar"], "aarch64": ["neon", "scalar"]}
RNG = np.random.default_rng(0)


@pytest.fixture(params=KNOWN.get(platform.machine(), ["scalar"]))
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SDP_KERNELS", request.param)
    try:
        assert instruction_set() == request.param
    except OperatorLibraryError:
        pytest.skip(f"this CPU has no {request.param}")
    return str(request.param)


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


def packed_linear(
    op_type: str, weights: list[str], x: NDArray[np.float32], arrays: Arrays, **settings: object
) -> NDArray[np.float32]:
    nodes = [
        node("Pack", ["x"], "p"),
        node(op_type, ["p", *weights, "bias"], "q", **{"activation": "none"} | settings),
        node("Unpack", ["q", "tokens"], "y"),
    ]
    return operators.run(nodes, {**arrays, "tokens": np.array([x.shape[1]])}, {"x": x})


SPARSE = ["values", "columns", "rows", "widths"]

# Around the edges of groups (16 tokens), of register tiles (64), of slices (192 columns) and blocks (192 rows).
SHAPES = [(1, 4, 4), (15, 192, 20), (16, 193, 192), (17, 100, 196), (33, 400, 64), (65, 385, 388), (130, 64, 8)]


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sparse_fp32(isa: str, shape: tuple[int, int, int], density: float) -> None:
    tokens, in_features, out_features = shape
    packed = pack_sparse(weight := sparse(out_features, in_features, density))
    x, bias = floats(2, tokens, in_features), floats(out_features)
    got = packed_linear("SparseLinear", SPARSE, x, {**weight_arrays(packed), "bias": bias}, **weight_settings(packed))
    expected = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("form", ["gelu", "gelu_tanh"])
def test_activations(isa: str, form: str) -> None:
    packed = pack_sparse(np.eye(8, dtype=np.float32))
    x = np.concatenate([np.linspace(-12, 12, 8000), [1e4, -1e4, 1e-8, -1e-8] * 2]).astype(np.float32).reshape(1, -1, 8)
    arrays = {**weight_arrays(packed), "bias": np.zeros(8, np.float32)}
    got = packed_linear("SparseLinear", SPARSE, x, arrays, activation=form, **weight_settings(packed))
    np.testing.assert_allclose(got, gelu(x.astype(np.float64), form), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["none", "gelu", "gelu_tanh"])
def test_not_a_number_stays_visible(isa: str, form: str) -> None:
    packed = pack_sparse(np.eye(8, dtype=np.float32))
    x = np.zeros((1, 3, 8), np.float32)
    x[0, 1, 5] = np.nan
    arrays = {**weight_arrays(packed), "bias": np.zeros(8, np.float32)}
    got = packed_linear("SparseLinear", SPARSE, x, arrays, activation=form, **weight_settings(packed))
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
    got = packed_linear("SparseLinearInt8", [*SPARSE, "scale"], x, arrays, **weight_settings(packed))
    expected = steps / 8 @ weight.T.astype(np.float64) * scale + bias
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_int8_gives_the_same_bits_with_and_without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = RNG.integers(-127, 128, (64, 512)).astype(np.int8)
    packed = pack_sparse(weight)
    # The largest products there are, which saturate 16 bits.
    x = np.where(RNG.random((1, 40, 512)) < 0.5, 3.0, -3.0).astype(np.float32) + floats(1, 40, 512) * 1e-3
    arrays = {**weight_arrays(packed), "scale": np.ones(64, np.float32), "bias": floats(64)}
    results = []
    for name in KNOWN.get(platform.machine(), []):
        monkeypatch.setenv("SDP_KERNELS", name)
        try:
            instruction_set()
        except OperatorLibraryError:
            continue
        if name != "scalar":  # which has no fused multiply-add, and rounds a quotient on half otherwise
            results.append(packed_linear("SparseLinearInt8", [*SPARSE, "scale"], x, arrays, **weight_settings(packed)))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("shape", [(1, 4, 16), (17, 100, 208), (33, 64, 192)], ids=str)
def test_dense(isa: str, shape: tuple[int, int, int]) -> None:
    tokens, in_features, out_features = shape
    weight, bias, x = floats(out_features, in_features), floats(out_features), floats(2, tokens, in_features)
    grouped = weight.reshape(-1, 16, in_features).transpose(0, 2, 1).copy()
    got = packed_linear(
        "DenseLinear", ["w"], x, {"w": grouped, "bias": bias}, in_features=in_features, out_features=out_features
    )
    expected = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * (1 + np.abs(expected).max()))


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
            ["p", *SPARSE, "bias", "s", "gamma", "beta"],
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


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("tokens", [1, 16, 17, 49])
def test_attention(isa: str, tokens: int, mask: str) -> None:
    batch, heads, size = 3, 2, 8
    q, k, v = (floats(batch, tokens, heads * size) for _ in range(3))
    seen = {
        "none": np.ones((1, 1, 1, tokens), bool),
        "padding": np.arange(tokens) < np.array([tokens, (tokens + 1) // 2, 1])[:, None, None, None],
        "per query": np.tri(tokens, dtype=bool)[None, None],
        "per head": RNG.random((batch, heads, tokens, tokens)) < 0.5,
    }[mask]
    seen[..., 0] = True  # a query that sees nothing has no answer
    inputs = {"q": q, "k": k, "v": v, "mask": np.ascontiguousarray(seen)}
    if mask == "none":
        del inputs["mask"]
    nodes = [
        *(node("Pack", [name], f"{name}p") for name in "qkv"),
        node(
            "PackedAttention",
            ["qp", "kp", "vp", "tokens", *(["mask"] if mask != "none" else [])],
            "o",
            heads=heads,
            head_size=size,
            q_first=0,
            k_first=0,
            v_first=0,
            scale=0.5,
        ),
        node("Unpack", ["o", "tokens"], "y"),
    ]
    got = operators.run(nodes, {"tokens": np.array([tokens])}, inputs)
    by_head = [t.astype(np.float64).reshape(batch, tokens, heads, size).transpose(0, 2, 1, 3) for t in (q, k, v)]
    scores = np.where(seen, by_head[0] @ by_head[1].transpose(0, 1, 3, 2) * 0.5, -np.inf)
    expected = (softmax(scores, axis=-1) @ by_head[2]).transpose(0, 2, 1, 3).reshape(batch, tokens, heads * size)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


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
        node("SparseLinear", ["p", *SPARSE, "bias"], "q", activation="gelu", **weight_settings(packed)),
    ]
    one, two, seven = (operators.run(nodes, arrays, {"x": x}, threads) for threads in (1, 2, 7))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, seven)
