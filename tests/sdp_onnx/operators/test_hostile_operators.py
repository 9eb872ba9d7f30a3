"""A model is untrusted: operators with wrong tensors, types and attributes give a status with the reason.

A crash would end the test run. More inputs, with a library that checks its own memory accesses:

    python export/native/build.py -fsanitize=address,undefined -fno-sanitize-recover=undefined -g
    LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \\
        SDP_FUZZ=20000 pytest tests/sdp_onnx/test_hostile_operators.py tests/sdp_onnx/test_kernels.py
    python export/native/build.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto

from sdp_onnx.operators.library import has_library
from sdp_onnx.operators.sparse_format import pack_sparse
from sdp_onnx.operators.table import OPERATORS
from support import operators
from support.operators import linear_inputs, node, weight_arrays, weight_settings

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

Arrays = dict[str, NDArray[Any]]
# Weights and bias by the names of the inputs, and attributes.
Case = tuple[Arrays, dict[str, Any]]
TRIED = settings(
    max_examples=int(os.environ.get("SDP_FUZZ", "150")), deadline=None, suppress_health_check=list(HealthCheck)
)
INTEGERS = ["in_features", "out_features", "slice", "block", "heads", "head_size", "q_first", "k_first", "v_first"]
INTEGERS += ["first_tokens"]
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 8, 16, 17]), max_size=4)
# Around the limits of the index types, of the format and of the arithmetic.
NUMBERS = st.sampled_from([-(2**63), -(2**31), -1, 0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 257, 2**16, 2**20, 2**31, 2**62])


def weight(dtype: type, out_features: int = 24, in_features: int = 40) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    kept = np.repeat(rng.random((out_features, in_features // 4)) < 0.4, 4, axis=1)
    return (rng.integers(-9, 9, kept.shape) * kept).astype(dtype)


def sparse_case(dtype: type) -> Case:
    packed = pack_sparse(weight(dtype), slice_columns=7, block=8)
    scales = {"scale": np.ones(24, np.float32)} if dtype is np.int8 else {}
    return {**weight_arrays(packed), **scales, "bias": np.zeros(24, np.float32)}, weight_settings(packed)


def dense_case(dtype: type) -> Case:
    shape = (2, 10, 16, 4) if dtype is np.int8 else (2, 40, 16)
    scales = {"scale": np.ones(32, np.float32)} if dtype is np.int8 else {}
    arrays = {"grouped": np.ones(shape, dtype), **scales, "bias": np.zeros(32, np.float32)}
    return arrays, {"in_features": 40, "out_features": 32}


# A valid case of each linear operator.
CASES = {
    "SparseLinear": lambda: sparse_case(np.float32),
    "SparseLinearInt8": lambda: sparse_case(np.int8),
    "DenseLinear": lambda: dense_case(np.float32),
    "DenseLinearInt8": lambda: dense_case(np.int8),
}


def test_every_linear_operator_has_a_case() -> None:
    assert set(CASES) == {row.name for row in OPERATORS.values() if row.weight is not None}


def linear(op_type: str, *norm: str, pack: bool = True, **settings_: Any) -> list[NodeProto]:
    """A linear operator on x, packed or as it is."""
    nodes = [node("Pack", ["x"], "p")] if pack else []
    inputs = [*linear_inputs(op_type, x="p" if pack else "x"), *norm]
    return [*nodes, node(op_type, inputs, "q", **{"activation": "none"} | settings_)]


@st.composite
def damaged(draw: st.DrawFn, array: NDArray[Any]) -> NDArray[Any]:
    """The array with an element, its size, its shape or its type changed."""
    how = draw(st.sampled_from(["element", "cut", "longer", "type", "shape", "empty"]))
    if how == "element" and array.size:
        changed = array.copy()
        at = draw(st.integers(0, array.size - 1))
        # Any bytes: NaN and infinity among them, and every index.
        raw = draw(st.binary(min_size=array.itemsize, max_size=array.itemsize))
        changed.reshape(-1)[at] = np.frombuffer(raw, array.dtype)[0]
        return changed
    if how == "cut":
        return array[: draw(st.integers(0, len(array)))].copy()
    if how == "longer":
        return np.concatenate([array, array[: draw(st.integers(1, 8))]])
    if how == "type":
        return array.astype(draw(st.sampled_from([np.float32, np.int8, np.uint8, np.uint16, np.int64, np.float64])))
    if how == "shape":
        return array.reshape(draw(st.sampled_from([(-1, 1), (1, -1), (1, 1, -1)])))
    return array[:0].copy()


def assert_runs_or_is_refused(run: Callable[[], object]) -> str:
    """The reason of a refusal, "none" where it ran; onnxruntime's exceptions share no base class of their own."""
    reason = "none"
    try:
        run()
    except Exception as error:
        reason = str(error)
    assert reason
    event("accepted" if reason == "none" else "refused")
    return reason


@pytest.mark.parametrize("op_type", CASES)
@given(data=st.data())
@TRIED
def test_damaged_weights(op_type: str, data: st.DataObject) -> None:
    arrays, shape = CASES[op_type]()
    for chosen in data.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=2, unique=True)):
        arrays[chosen] = data.draw(damaged(arrays[chosen]))
    nodes = linear(op_type, activation="gelu", **shape)
    assert_runs_or_is_refused(lambda: operators.run(nodes, arrays, {"x": np.ones((1, 19, 40), np.float32)}))


@pytest.mark.parametrize("op_type", CASES)
@given(data=st.data())
@TRIED
def test_wrong_attributes(op_type: str, data: st.DataObject) -> None:
    arrays, shape = CASES[op_type]()
    shape[data.draw(st.sampled_from(sorted(shape)))] = data.draw(NUMBERS)
    activation = data.draw(st.sampled_from(["none", "gelu", "", "x" * 100, "none\0"]))
    nodes = linear(op_type, activation=activation, **shape)
    assert_runs_or_is_refused(lambda: operators.run(nodes, arrays, {"x": np.ones((1, 19, 40), np.float32)}))


@given(shape=st.lists(st.integers(0, 40), max_size=5), op_type=st.sampled_from(sorted(CASES)), pack=st.booleans())
@TRIED
def test_activations_of_any_shape(shape: list[int], op_type: str, pack: bool) -> None:
    arrays, settings_ = CASES[op_type]()
    x = np.full(shape, np.nan, np.float32)
    nodes = linear(op_type, pack=pack, **settings_)
    assert_runs_or_is_refused(lambda: operators.run(nodes, arrays, {"x": x}))


@given(
    residual=st.lists(st.integers(0, 24), min_size=3, max_size=3),
    gamma=st.integers(0, 30),
    beta=st.integers(0, 30),
    missing=st.sampled_from([0, 1, 2]),
)
@TRIED
def test_residuals_and_norms_of_any_shape(residual: list[int], gamma: int, beta: int, missing: int) -> None:
    arrays, settings_ = CASES["SparseLinear"]()
    arrays |= {"gamma": np.ones(gamma, np.float32), "beta": np.ones(beta, np.float32)}
    norm = ["r", "gamma", "beta"][: 3 - missing]
    nodes = linear("SparseLinear", *norm, epsilon=1e-5, **settings_)
    feeds = {"x": np.ones((1, 19, 40), np.float32), "r": np.ones([*residual, 16], np.float32)}
    assert_runs_or_is_refused(lambda: operators.run(nodes, arrays, feeds))


# Attention in int8 begins at 112 keys.
@given(
    op_type=st.sampled_from(["PackedAttention", "PackedAttentionInt8"]),
    shape=st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 8]), st.sampled_from([0, 8, 16, 48])),
    tokens=st.sampled_from([-(2**63), -1, 0, 1, 15, 16, 17, 33, 48, 120, 2**40]),
    mask=st.none()
    | st.lists(st.sampled_from([0, 1, 2, 3, 17, 33]), min_size=1, max_size=5)
    | st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([1, 120]), st.just(120)),
    heads=st.sampled_from([0, 1, 2, 2**40]),
    head_size=st.sampled_from([0, 4, 8, 16, 2**40]),
    first=NUMBERS,
)
@TRIED
def test_attention_of_any_shape(
    op_type: str,
    shape: tuple[int, int, int],
    tokens: int,
    mask: list[int] | tuple[int, ...] | None,
    heads: int,
    head_size: int,
    first: int,
) -> None:
    feeds: Arrays = {"x": np.ones((*shape, 16), np.float32)}
    if mask is not None:
        feeds["mask"] = np.ones(mask, bool)
    masks = ["mask"] if mask is not None else []
    numbers = {"heads": heads, "head_size": head_size, "q_first": 0, "k_first": first, "v_first": 0}
    nodes = [
        node(
            op_type,
            ["x", "x", "x", "tokens", *masks],
            "o",
            scale=1.0,
            **numbers,
        ),
        node("Unpack", ["o", "tokens"], "y"),
    ]
    assert_runs_or_is_refused(lambda: operators.run(nodes, {"tokens": np.array([tokens])}, feeds))


@given(
    op_type=st.sampled_from(["PackedAttention", "PackedAttentionInt8"]),
    groups=st.integers(0, 9),
    kept=st.lists(st.sampled_from([0, 1, 2, 16, 17, 120]), max_size=3),
    first_tokens=st.sampled_from([0, 1, 2**40]),
    share=st.floats(0, 1),
    bias=st.none()
    | st.lists(st.sampled_from([0, 1, 2, 16]), max_size=5)
    | st.tuples(st.just(1), st.integers(1, 2), *[st.sampled_from([1, 2, 16, 17, 120])] * 2),
)
@TRIED
def test_texts_of_any_lengths(
    op_type: str,
    groups: int,
    kept: list[int],
    first_tokens: int,
    share: float,
    bias: list[int] | tuple[int, ...] | None,
) -> None:
    feeds: Arrays = {"x": np.ones((1, groups, 48, 16), np.float32)}
    feeds["kept"] = (np.random.default_rng(0).random(kept) < share).astype(np.int64)
    numbers = {"heads": 2, "head_size": 8, "q_first": 0, "k_first": 16, "v_first": 32, "first_tokens": first_tokens}
    added = []
    if bias is not None:
        feeds["bias"], added = np.ones(bias, np.float32), ["", "bias"]
    attention = node(op_type, ["x", "x", "x", "kept", *added], "o", scale=1.0, **numbers)
    nodes = [attention, node("Unpack", ["o", "kept"], "y")]
    assert_runs_or_is_refused(lambda: operators.run(nodes, {}, feeds))


@given(
    shape=st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3]), st.sampled_from([0, 1, 8, 48])),
    tokens=st.sampled_from([-1, 0, 1, 15, 16, 17, 33, 48, 2**40]) | st.lists(st.integers(0, 3), min_size=2, max_size=2),
    angles=st.lists(st.sampled_from([0, 1, 2, 3, 4, 17, 48]), max_size=4),
    heads=st.sampled_from([0, 1, 2, 2**40]),
    head_size=st.sampled_from([0, 1, 2, 8, 514, 2**40]),
    first=NUMBERS,
)
@TRIED
def test_rotary_positions_of_any_shape(
    shape: tuple[int, int, int], tokens: int | list[int], angles: list[int], heads: int, head_size: int, first: int
) -> None:
    feeds: Arrays = {"x": np.ones((*shape, 16), np.float32), "angles": np.ones(angles, np.float32)}
    feeds["tokens"] = np.ones(tokens, np.int64) if isinstance(tokens, list) else np.array([tokens])
    inputs = ["x", "tokens", "angles", "angles"]
    nodes = [node("PackedRotary", inputs, "y", heads=heads, head_size=head_size, first=first)]
    assert_runs_or_is_refused(lambda: operators.run(nodes, {}, feeds))


def test_no_tokens_of_many_texts_take_no_time() -> None:
    first = [node("FirstTokens", ["x", "tokens"], "y")]
    for feeds in (
        {"x": np.empty((2**30, 0, 8, 16), np.float32), "tokens": np.array([0])},
        {"x": np.empty((1, 0, 8, 16), np.float32), "tokens": np.empty((2**40, 0), np.int64)},
        {"x": np.empty((2**30, 1, 0, 16), np.float32), "tokens": np.array([1])},
    ):
        assert operators.run(first, {}, feeds).size == 0


@pytest.mark.parametrize("op_type", OPERATORS)
@given(data=st.data())
@settings(TRIED, max_examples=max(1, TRIED.max_examples // len(OPERATORS)))
def test_any_operator_takes_or_refuses_any_tensors(op_type: str, data: st.DataObject) -> None:
    row = OPERATORS[op_type]
    required = sum(value.role in ("required", "weight") for value in row.inputs)
    given_inputs = row.inputs[: data.draw(st.integers(required, len(row.inputs)))]
    arrays: Arrays = {}
    for value in given_inputs:
        shape = data.draw(SHAPES | st.sampled_from([[1], [4], [16], [1, 4, 16], [1, 1, 4, 16]]))
        arrays[value.name] = np.full(shape, data.draw(st.integers(0, 20)), value.dtype)
    fed = [value.name for value in given_inputs if value.role != "weight" and data.draw(st.booleans())]
    feeds = {name: arrays.pop(name) for name in fed}
    attributes: dict[str, Any] = {name: data.draw(st.sampled_from([0, 4, 8, 16]) | NUMBERS) for name in INTEGERS}
    reals = {"epsilon": 1e-5, "scale": 1.0, "activation": "none"}
    nodes = [node(op_type, [value.name for value in given_inputs], "y", **attributes, **reals)]
    reason = assert_runs_or_is_refused(lambda: operators.run(nodes, arrays, feeds))
    assert "not a registered function" not in reason


def test_an_empty_tensor_of_any_shape_takes_no_time() -> None:
    # Found by the fuzzer: one piece of work for every 16 tokens, however many tokens of no features there are.
    pack = [node("Pack", ["x"], "y")]
    y = operators.run(pack, {}, {"x": np.empty((1, 2**40, 0), np.float32)})
    assert y.shape == (1, 2**36, 0, 16)
    with pytest.raises(Exception, match=r"sdp\.Pack: an input is too large"):
        operators.run(pack, {}, {"x": np.empty((2**60, 0), np.float32)})


def test_weights_that_a_caller_could_replace_are_refused() -> None:
    arrays, settings_ = CASES["SparseLinear"]()
    columns = arrays.pop("columns")
    nodes = linear("SparseLinear", **settings_)
    feeds = {"x": np.ones((1, 19, 40), np.float32), "columns": columns}
    with pytest.raises(Exception, match=r"sdp\.SparseLinear: weights must be initializers"):
        operators.run(nodes, arrays, feeds)


def test_a_status_names_operator_and_reason() -> None:
    arrays, settings_ = CASES["SparseLinear"]()
    arrays["columns"][3] = 200
    nodes = linear("SparseLinear", **settings_)
    with pytest.raises(Exception, match=r"sdp\.SparseLinear: columns: a column beyond its slice"):
        operators.run(nodes, arrays, {"x": np.ones((1, 19, 40), np.float32)})
