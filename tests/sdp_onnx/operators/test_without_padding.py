"""Batches of texts of different lengths, packed without their padding: each text's results are those of it alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from scipy.special import expit, ndtr

from sdp_onnx.operators.library import has_library
from sdp_onnx.operators.sparse_format import pack_sparse
from sdp_onnx.operators.table import OPERATORS
from support import operators
from support.operators import Arrays, linear_inputs, node, weight_arrays, weight_settings

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

HEADS, HEAD_SIZE = 3, 8
WIDTH = HEADS * HEAD_SIZE
PLACES = {"heads": HEADS, "head_size": HEAD_SIZE, "q_first": 0, "k_first": WIDTH, "v_first": 2 * WIDTH}
RNG = np.random.default_rng(0)


def layer(precision: str) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """Queries, keys and values by one product, and attention; in `nodes` x is packed and y is the result."""
    weight = RNG.standard_normal((3 * WIDTH, WIDTH)).astype(np.float32)
    int8 = "Int8" if precision == "int8" else ""
    packed = pack_sparse(np.round(20 * weight).clip(-127, 127).astype(np.int8) if int8 else weight)
    arrays = {**weight_arrays(packed), "bias": RNG.standard_normal(3 * WIDTH).astype(np.float32)}
    if int8:
        arrays["scale"] = np.full(3 * WIDTH, 0.05, np.float32)
    linear = f"SparseLinear{int8}"
    nodes = [
        node(linear, linear_inputs(linear, x="p"), "qkv", activation="none", **weight_settings(packed)),
        node(f"PackedAttention{int8}", ["qkv"] * 3 + ["tokens"], "seen", scale=0.4, **PLACES),
    ]
    return nodes, arrays


def run(nodes: list[Any], arrays: Arrays, x: NDArray[np.float32], kept: NDArray[np.int64]) -> NDArray[np.float32]:
    pack = [node("Pack", ["x", "tokens"], "p")]
    return operators.run([*pack, *nodes, node("Unpack", ["seen", "tokens"], "y")], arrays, {"x": x, "tokens": kept})


def run_alone(nodes: list[Any], arrays: Arrays, x: NDArray[np.float32]) -> NDArray[np.float32]:
    tokens = {"tokens": np.array([x.shape[1]])}
    pack = [node("Pack", ["x"], "p")]
    return operators.run([*pack, *nodes, node("Unpack", ["seen", "tokens"], "y")], {**arrays, **tokens}, {"x": x})


def batch(lengths: list[int], holes: bool = False) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Texts of these lengths, with padding behind them, or at any places between their tokens."""
    longest = max([*lengths, 1]) + holes
    x = RNG.standard_normal((len(lengths), longest, WIDTH)).astype(np.float32)
    kept = (np.arange(longest) < np.array(lengths, int)[:, None]).astype(np.int64)
    return x, RNG.permuted(kept, axis=1) if holes else kept


LENGTHS = {
    "one": [5],
    "whole groups": [16, 32, 16],
    "short": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    "some empty": [0, 17, 0, 0, 31, 33, 0],
    "all empty": [0, 0],
    "long and short": [130, 3, 200, 16, 1, 112, 111],
    "many": [int(length) for length in np.random.default_rng(1).integers(0, 60, 64)],
    "longest": [512, 0, 1, 511],
}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("holes", [False, True], ids=["behind", "anywhere"])
def test_each_text_gets_what_it_gets_alone(isa: str, name: str, precision: str, holes: bool) -> None:
    nodes, arrays = layer(precision)
    x, kept = batch(LENGTHS[name], holes)
    got = run(nodes, arrays, x, kept)
    for text, own, result in zip(x, kept, got, strict=True):
        alone = run_alone(nodes, arrays, text[own == 1][None])[0] if own.any() else np.zeros((0, WIDTH))
        np.testing.assert_array_equal(result[own == 1], alone)
        np.testing.assert_array_equal(result[own == 0], 0)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", LENGTHS)
def test_first_tokens(isa: str, name: str, precision: str) -> None:
    nodes, arrays = layer(precision)
    x, kept = batch(LENGTHS[name], holes=True)
    everything = run(nodes, arrays, x, kept)
    first = [text[own == 1][0] if own.any() else np.zeros(WIDTH) for text, own in zip(everything, kept, strict=True)]
    ends = [
        [*nodes, node("FirstTokens", ["seen", "tokens"], "f")],
        [nodes[0], node(nodes[1].op_type, nodes[1].input, "f", first_tokens=1, scale=0.4, **PLACES)],
    ]
    for end in ends:
        pack = [node("Pack", ["x", "tokens"], "p")]
        feeds = {"x": x, "tokens": kept}
        number = {"texts": np.array([len(x)])}
        got = operators.run([*pack, *end, node("Unpack", ["f", "texts"], "y")], {**arrays, **number}, feeds)
        np.testing.assert_array_equal(got[0], first)


def attended(qkv: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float64]:
    """Attention of one text by plain loops over heads, in double precision: [tokens, width].

    Args:
        qkv: [tokens, 3 * width].
        bias: [1 or heads, tokens, tokens].
    """
    heads = []
    for head in range(HEADS):
        q, k, v = (qkv[:, start + head * HEAD_SIZE :][:, :HEAD_SIZE].astype(float) for start in (0, WIDTH, 2 * WIDTH))
        scores = 0.4 * q @ k.T + bias[head % len(bias)]
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        heads.append(shares / shares.sum(axis=1, keepdims=True) @ v)
    return np.concatenate(heads, axis=1)


@pytest.mark.parametrize("heads", [1, HEADS])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", [name for name in LENGTHS if name != "all empty"])
def test_a_bias_is_that_of_the_places_of_query_and_key(isa: str, name: str, precision: str, heads: int) -> None:
    nodes, arrays = layer(precision)
    x, kept = batch(LENGTHS[name], holes=True)
    bias = (2 * RNG.standard_normal((1, heads, *[x.shape[1]] * 2))).astype(np.float32)
    inputs = [*["qkv"] * 3, "tokens", "", "relative"]
    attention = [node(nodes[1].op_type, inputs, "seen", scale=0.4, **PLACES)]
    arrays = {**arrays, "relative": bias}
    got = run([nodes[0], *attention], arrays, x, kept)
    pack, unpack = node("Pack", ["x", "tokens"], "p"), node("Unpack", ["qkv", "tokens"], "y")
    qkv = operators.run([pack, nodes[0], unpack], arrays, {"x": x, "tokens": kept})
    for text, own, result in zip(qkv, kept == 1, got, strict=True):
        if own.any():
            expected = attended(text[own], bias[0][:, own][:, :, own])
            if precision == "int8" and own.sum() >= 112:
                # With many keys it rounds queries, keys, shares and values.
                assert np.std(result[own] - expected) < 0.06 * np.std(expected)
                without = attended(text[own], np.zeros((1, own.sum(), own.sum())))
                assert np.std(result[own] - without) > 0.2 * np.std(expected)
            else:
                np.testing.assert_allclose(result[own], expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_array_equal(result[~own], 0)
    # The first tokens alone are the same.
    first = node(nodes[1].op_type, inputs, "f", first_tokens=1, scale=0.4, **PLACES)
    number = {"texts": np.array([len(x)])}
    ends = [first, node("Unpack", ["f", "texts"], "y")]
    firsts = operators.run([pack, nodes[0], *ends], {**arrays, **number}, {"x": x, "tokens": kept})[0]
    for own, result, alone in zip(kept == 1, got, firsts, strict=True):
        np.testing.assert_array_equal(alone, result[own][0] if own.any() else np.zeros(WIDTH))


def grouped(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """A table [rows, heads, head_size] as the operator takes it, [heads, rows / 16, head_size, 16]."""
    return np.ascontiguousarray(rows.reshape(-1, 16, HEADS, HEAD_SIZE).transpose(2, 0, 3, 1))


@pytest.mark.parametrize("name", [name for name in LENGTHS if name != "all empty"])
@pytest.mark.parametrize("rows", [16, 48])
def test_places_have_keys_and_queries(isa: str, name: str, rows: int) -> None:
    nodes, arrays = layer("fp32")
    x, kept = batch(LENGTHS[name], holes=True)
    length = x.shape[1]
    tables = {name: RNG.standard_normal((rows, HEADS, HEAD_SIZE)).astype(np.float32) for name in ("pk", "pq")}
    # One has all rows of its table, the other few in the middle.
    places = {"kp": RNG.integers(0, rows, (1, length, length)), "qp": RNG.integers(5, 11, (1, length, length))}
    inputs = [*["qkv"] * 3, "tokens", "kp", "qp", "pk", "pq"]
    arrays = {**arrays, **places, **{name: grouped(table) for name, table in tables.items()}}
    got = run([nodes[0], node("PackedDisentangledAttention", inputs, "seen", scale=0.4, **PLACES)], arrays, x, kept)
    pack, unpack = node("Pack", ["x", "tokens"], "p"), node("Unpack", ["qkv", "tokens"], "y")
    qkv = operators.run([pack, nodes[0], unpack], arrays, {"x": x, "tokens": kept})
    for text, own, result in zip(qkv, kept == 1, got, strict=True):
        at = np.flatnonzero(own)
        if len(at):
            q, k = (text[own][:, start:][:, :WIDTH].reshape(-1, HEADS, HEAD_SIZE) for start in (0, WIDTH))
            of_keys, of_queries = (places[name][0][np.ix_(at, at)] for name in ("kp", "qp"))
            added = np.einsum("ihd,ijhd->hij", q, tables["pk"][of_keys])
            added += np.einsum("jhd,jihd->hij", k, tables["pq"][of_queries])
            np.testing.assert_allclose(result[own], attended(text[own], 0.4 * added), rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(result[~own], 0)
    # The first tokens alone are the same.
    first = node("PackedDisentangledAttention", inputs, "f", first_tokens=1, scale=0.4, **PLACES)
    number = {"texts": np.array([len(x)])}
    ends = [first, node("Unpack", ["f", "texts"], "y")]
    firsts = operators.run([pack, nodes[0], *ends], {**arrays, **number}, {"x": x, "tokens": kept})[0]
    for own, result, alone in zip(kept == 1, got, firsts, strict=True):
        np.testing.assert_array_equal(alone, result[own][0] if own.any() else np.zeros(WIDTH))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kp": np.zeros((1, 4, 5), np.int64)}, "the places do not have the shape"),
        ({"qp": np.zeros((2, 4, 4), np.int64)}, "the places do not have the shape"),
        ({"kp": np.full((1, 4, 4), 16)}, "a place has no row in its table"),
        ({"qp": np.full((1, 4, 4), -1)}, "a place has no row in its table"),
        ({"pk": np.zeros((2, 1, HEAD_SIZE, 16), np.float32)}, "a table of positions does not have the shape"),
        ({"pq": np.zeros((HEADS, 1, HEAD_SIZE, 8), np.float32)}, "a table of positions does not have the shape"),
    ],
)
def test_places_of_another_shape_or_without_a_row_are_refused(change: dict[str, Any], message: str) -> None:
    nodes, arrays = layer("fp32")
    x, kept = batch([4, 2])
    table, places = np.zeros((HEADS, 1, HEAD_SIZE, 16), np.float32), np.zeros((1, 4, 4), np.int64)
    inputs = [*["qkv"] * 3, "tokens", "kp", "qp", "pk", "pq"]
    attention = node("PackedDisentangledAttention", inputs, "seen", scale=0.4, **PLACES)
    arrays = {**arrays, "kp": places, "qp": places, "pk": table, "pq": table, **change}
    with pytest.raises(InvalidArgument, match=message):
        run([nodes[0], attention], arrays, x, kept)
    if message.startswith("a place"):
        with pytest.raises(InvalidArgument, match="places are of texts without padding"):
            run_alone([nodes[0], attention], {**arrays, **dict.fromkeys(change, places)}, x)


@pytest.mark.parametrize("activation", ["none", "gelu", "gelu_tanh", "silu"])
def test_a_gate_is_the_product_of_two_halves(isa: str, activation: str) -> None:
    x, kept = batch(LENGTHS["some empty"])
    x *= 3
    nodes = [node("Pack", ["x", "tokens"], "p"), node("PackedGate", ["p"], "g", activation=activation)]
    got = operators.run([*nodes, node("Unpack", ["g", "tokens"], "y")], {}, {"x": x, "tokens": kept})
    gate, passed = np.split(x.astype(np.float64), 2, axis=2)
    shares = {
        "none": np.ones_like(gate),
        "gelu": ndtr(gate),
        "gelu_tanh": 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3))),
        "silu": expit(gate),
    }
    expected = np.where(kept[:, :, None] == 1, gate * shares[activation] * passed, 0)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("centred", [False, True], ids=["root mean square", "layer"])
def test_norms_and_sums_of_each_token(isa: str, centred: bool) -> None:
    x, kept = batch(LENGTHS["some empty"])
    arrays = {
        name: RNG.standard_normal(WIDTH).astype(np.float32) for name in (["gamma", "beta"] if centred else ["gamma"])
    }
    nodes = [
        node("Pack", ["x", "tokens"], "p"),
        node("PackedAdd", ["p", "p"], "s"),
        node("PackedNorm", ["s", *arrays], "n", epsilon=0.01),
        node("Unpack", ["n", "tokens"], "y"),
    ]
    got = operators.run(nodes, arrays, {"x": x, "tokens": kept})
    doubled = 2 * x.astype(np.float64)
    centre = doubled.mean(axis=2, keepdims=True) if centred else 0.0
    spread = np.sqrt(((doubled - centre) ** 2).mean(axis=2, keepdims=True) + 0.01)
    expected = (doubled - centre) / spread * arrays["gamma"] + arrays.get("beta", 0)
    np.testing.assert_allclose(got, np.where(kept[:, :, None] == 1, expected, 0), rtol=1e-4, atol=1e-5)


def test_gates_norms_and_sums_of_other_shapes_are_refused() -> None:
    x, kept = batch([4, 2])
    pack = node("Pack", ["x", "tokens"], "p")
    for own, arrays, message in (
        (node("PackedAdd", ["p", "other"], "y"), {"other": np.zeros((1, 1, WIDTH, 16), np.float32)}, ""),
        (node("PackedAdd", ["p", "other"], "y"), {"other": np.zeros((1, 1, 8, 16), np.float32)}, "x and y differ"),
        (node("PackedNorm", ["p", "g"], "y", epsilon=0.1), {"g": np.zeros(5, np.float32)}, "gamma has another width"),
        (
            node("PackedNorm", ["p", "g", "b"], "y", epsilon=0.1),
            {"g": np.zeros(WIDTH, np.float32), "b": np.zeros(5, np.float32)},
            "gamma and beta differ",
        ),
        (node("PackedGate", ["p"], "y", activation="relu"), {}, "activation is none of"),
    ):
        if message:
            with pytest.raises(Exception, match=message):
                operators.run([pack, own], arrays, {"x": x, "tokens": kept})
        else:
            assert operators.run([pack, own], arrays, {"x": x, "tokens": kept}).shape == (1, 1, WIDTH, 16)
    with pytest.raises(InvalidArgument, match="x has no two halves"):
        operators.run(
            [node("PackedGate", ["x"], "y", activation="none")], {}, {"x": np.zeros((1, 1, 3, 16), np.float32)}
        )


def rotated(x: NDArray[np.float32], cos: NDArray[np.float32], sin: NDArray[np.float32]) -> NDArray[np.float32]:
    """The heads of [tokens, heads * size] by plain loops, with angles [tokens, size / 2]."""
    y, half = x.copy(), HEAD_SIZE // 2
    for token in range(len(x)):
        for head in range(x.shape[1] // HEAD_SIZE):
            for d in range(half):
                a, b = x[token, head * HEAD_SIZE + d], x[token, head * HEAD_SIZE + half + d]
                y[token, head * HEAD_SIZE + d] = a * cos[token, d] - b * sin[token, d]
                y[token, head * HEAD_SIZE + half + d] = b * cos[token, d] + a * sin[token, d]
    return y


@pytest.mark.parametrize("each", [False, True], ids=["one row of angles", "angles of each text"])
@pytest.mark.parametrize("name", ["short", "some empty", "all empty", "long and short"])
@pytest.mark.parametrize("padded", [False, True], ids=["without padding", "padded"])
def test_rotary_positions_are_those_of_the_tokens_places(name: str, padded: bool, each: bool) -> None:
    x, kept = batch(LENGTHS[name], holes=True)
    angles = RNG.standard_normal((len(x) if each else 1, x.shape[1], HEAD_SIZE // 2)).astype(np.float32)
    arrays = {"cos": np.cos(angles), "sin": np.sin(angles)}
    if padded:
        kept, arrays["tokens"] = np.ones_like(kept), np.array([x.shape[1]])
    # All but the first head.
    rotary = node(
        "PackedRotary", ["p", "tokens", "cos", "sin"], "r", heads=HEADS - 1, head_size=HEAD_SIZE, first=HEAD_SIZE
    )
    nodes = [node("Pack", ["x"] if padded else ["x", "tokens"], "p"), rotary, node("Unpack", ["r", "tokens"], "y")]
    got = operators.run(nodes, arrays, {"x": x} if padded else {"x": x, "tokens": kept})
    for place, (text, own, result) in enumerate(zip(x, kept == 1, got, strict=True)):
        row = place if each else 0
        expected = rotated(text[:, HEAD_SIZE:], arrays["cos"][row], arrays["sin"][row])
        np.testing.assert_allclose(result[own][:, HEAD_SIZE:], expected[own], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(result[own][:, :HEAD_SIZE], text[own][:, :HEAD_SIZE])
        np.testing.assert_array_equal(result[~own], 0)


@pytest.mark.parametrize("shape", [(1, 5, 4), (1, 4, 3), (3, 4, 4), (4, 4)])
def test_angles_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    x, kept = batch([4, 2])
    settings = {"heads": HEADS, "head_size": HEAD_SIZE, "first": 0}
    rotary = node("PackedRotary", ["p", "tokens", "cos", "sin"], "r", **settings)
    nodes = [node("Pack", ["x", "tokens"], "p"), rotary, node("Unpack", ["r", "tokens"], "y")]
    arrays = {"cos": np.zeros(shape, np.float32), "sin": np.zeros(shape, np.float32)}
    with pytest.raises(InvalidArgument, match="the angles do not have the shape"):
        operators.run(nodes, arrays, {"x": x, "tokens": kept})


def test_a_bias_of_another_shape_or_with_padding_is_refused() -> None:
    nodes, arrays = layer("fp32")
    attention = node("PackedAttention", [*["qkv"] * 3, "tokens", "", "relative"], "seen", scale=0.4, **PLACES)
    x, kept = batch([4, 2])
    for shape in ((1, 1, 4, 5), (1, 2, 4, 4), (2, 1, 4, 4), (1, 4, 4)):
        with pytest.raises(InvalidArgument, match="the bias does not have the shape"):
            run([nodes[0], attention], {**arrays, "relative": np.zeros(shape, np.float32)}, x, kept)
    with pytest.raises(InvalidArgument, match="a bias is of texts without padding"):
        run_alone([nodes[0], attention], {**arrays, "relative": np.zeros((1, 1, 4, 4), np.float32)}, x)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=1, max_size=20), st.booleans(), st.sampled_from(["fp32", "int8"]))
def test_any_lengths(lengths: list[int], holes: bool, precision: str) -> None:
    nodes, arrays = layer(precision)
    x, kept = batch(lengths, holes)
    got = run(nodes, arrays, x, kept)
    for text, own, result in zip(x, kept, got, strict=True):
        if own.any():
            np.testing.assert_array_equal(result[own == 1], run_alone(nodes, arrays, text[own == 1][None])[0])
    np.testing.assert_array_equal(got[kept == 0], 0)


def test_a_text_does_not_see_its_neighbours(isa: str) -> None:
    nodes, arrays = layer("fp32")
    x, kept = batch([5, 20, 7])
    x[1] = np.nan
    got = run(nodes, arrays, x, kept)
    assert np.isfinite(got[[0, 2]]).all()
    assert np.isnan(got[1]).all()


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (np.ones((3, 4), np.int64), "another batch or length"),
        (np.ones((2, 5), np.int64), "another batch or length"),
        (np.ones(10, np.int64), "does not have the shape"),
    ],
    ids=["another batch", "another length", "another rank"],
)
def test_other_shapes_are_refused(kept: NDArray[np.int64], message: str) -> None:
    nodes, arrays = layer("fp32")
    x = np.zeros((2, 4, WIDTH), np.float32)
    with pytest.raises(InvalidArgument, match=message):
        run(nodes, arrays, x, kept)


def test_other_tokens_than_the_packed_ones_are_refused() -> None:
    nodes = [node("Pack", ["x", "kept"], "p"), node("Unpack", ["p", "tokens"], "y")]
    feeds = {"x": np.zeros((2, 20, 8), np.float32), "kept": np.ones((2, 20), np.int64)}
    with pytest.raises(InvalidArgument, match="do not fit the packed activations"):
        operators.run(nodes, {}, {**feeds, "tokens": np.ones((2, 30), np.int64)})


def table(rows: int, int8: bool) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float64]]:
    """A table, the scales of its rows, and its values."""
    if not int8:
        values = RNG.standard_normal((rows, WIDTH)).astype(np.float32)
        return values, np.zeros(0, np.float32), values.astype(np.float64)
    values = RNG.integers(-127, 128, (rows, WIDTH)).astype(np.int8)
    scale = RNG.random((rows, 1)).astype(np.float32)
    return values, scale, values * scale.astype(np.float64)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("type_rows", [1, 2])
@pytest.mark.parametrize("op_type", ["PackedEmbedding", "PackedEmbeddingInt8"])
@pytest.mark.parametrize("name", LENGTHS)
def test_embeddings(isa: str, name: str, op_type: str, type_rows: int, parts: int) -> None:
    int8 = op_type.endswith("Int8")
    _, kept = batch(LENGTHS[name], holes=True)
    gamma, beta = RNG.standard_normal((2, WIDTH)).astype(np.float32)
    feeds, arrays, total = {"kept": kept}, {"gamma": gamma, "beta": beta}, np.zeros((*kept.shape, WIDTH))
    inputs = {"kept": "kept", "gamma": "gamma", "beta": "beta"}
    for part, rows in [("word", 300), ("position", 600), ("type", type_rows)][:parts]:
        own, scale, values = table(rows, int8 and part != "type")
        # Positions are the same for all texts; what is padding is not looked up.
        shape = kept.shape if part != "position" else (1, kept.shape[1])
        index = RNG.integers(0, rows, shape)
        total += values[index]
        feeds[f"{part}s"] = np.where(kept == 1, index, 10**9) if shape == kept.shape else index
        arrays[f"{part}_table"] = own
        inputs |= {f"{part}s": f"{part}s", f"{part}_table": f"{part}_table"}
        if scale.size:
            arrays[f"{part}_scale"] = scale
            inputs[f"{part}_scale"] = f"{part}_scale"
    nodes = [
        node(op_type, OPERATORS[op_type].arrange(inputs), "p", epsilon=1e-5),
        node("Unpack", ["p", "kept"], "y"),
    ]
    got = operators.run(nodes, arrays, feeds)
    spread = total - total.mean(axis=-1, keepdims=True)
    expected = spread / np.sqrt((spread**2).mean(axis=-1, keepdims=True) + 1e-5) * gamma + beta
    np.testing.assert_allclose(got, np.where(kept[..., None] == 1, expected, 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [-1, 300])
def test_an_index_beyond_its_table_is_refused(wrong: int) -> None:
    arrays = {"gamma": np.ones(8, np.float32), "beta": np.zeros(8, np.float32), "table": np.ones((300, 8), np.float32)}
    nodes = [node("PackedEmbedding", ["kept", "words", "table", "gamma", "beta"], "y", epsilon=1e-5)]
    feeds = {"kept": np.array([[1, 1, 0]]), "words": np.array([[0, wrong, 0]])}
    with pytest.raises(InvalidArgument, match="an index is beyond its table"):
        operators.run(nodes, arrays, feeds)


@pytest.mark.parametrize("shape", [(3, 4), (2, 5)])
def test_indices_of_another_shape_are_refused(shape: tuple[int, int]) -> None:
    arrays = {"gamma": np.ones(8, np.float32), "beta": np.zeros(8, np.float32), "table": np.ones((300, 8), np.float32)}
    nodes = [node("PackedEmbedding", ["kept", "words", "table", "gamma", "beta"], "y", epsilon=1e-5)]
    feeds = {"kept": np.ones((2, 4), np.int64), "words": np.zeros(shape, np.int64)}
    with pytest.raises(InvalidArgument, match="another batch or length than kept"):
        operators.run(nodes, arrays, feeds)
