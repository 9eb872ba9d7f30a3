"""Which masks leave out padding and do nothing else, and what a file makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, parser

from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.key_mask import leaves_out_padding
from sdp_onnx.model.graph_index import GraphIndex
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.onnxruntime import create_session
from support.pruned_file import prune

KEYS = """
    kept = Cast <to = 9> (attention_mask)
    axes = Constant <value_ints = [1, 2]> ()
    keys = Unsqueeze (kept, axes)
"""
POSITIONS = """
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    shape = Shape <start = 1, end = 2> (input_ids)
    length = Squeeze (shape)
    places = Range (zero, length, one)
    queries = Unsqueeze (places, one_axis)
"""


def model(body: str) -> ModelProto:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    mask (int64[batch, tokens] input_ids, int64[batch, tokens] attention_mask) => (bool[a, b, c, d] mask) {{
    {body} }}"""
    return parser.parse_model(text)


def is_key_mask(body: str) -> bool:
    made = model(body)
    return leaves_out_padding(made, GraphIndex(made.graph), {}, "mask", "attention_mask")


def test_a_mask_of_keys_leaves_out_padding() -> None:
    assert is_key_mask(KEYS + "mask = Identity (keys)")


def test_what_padding_sees_is_of_no_account() -> None:
    queries = "last = Constant <value_ints = [1, 3]> ()\n queries = Unsqueeze (kept, last)\n mask = And (keys, queries)"
    assert is_key_mask(KEYS + queries)
    # That of a token is.
    assert not is_key_mask(KEYS + queries.replace("And", "Or"))


def test_so_does_one_that_is_spread_over_the_queries() -> None:
    spread = """
    one_axis = Constant <value_ints = [1]> ()
    ones = ConstantOfShape <value = int64[1] {1}> (square)
    """
    square = """
    shape = Shape (input_ids)
    first = Constant <value_ints = [0]> ()
    second = Constant <value_ints = [1]> ()
    batch = Gather (shape, first)
    length = Gather (shape, second)
    square = Concat <axis = 0> (batch, second, length, length)
    """
    assert is_key_mask(KEYS + square + spread + "all = Cast <to = 9> (ones)\n mask = And (keys, all)")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("causal", "seen = GreaterOrEqual (queries, places)"),
        (
            "of a window",
            "d = Sub (queries, places)\n e = Abs (d)\n w = Constant <value_int = 1024> ()\n seen = Less (e, w)",
        ),
    ],
)
def test_one_that_also_depends_on_the_place_does_not(name: str, rule: str) -> None:
    axis = "one_axis = Constant <value_ints = [1]> ()"
    assert not is_key_mask(KEYS + axis + POSITIONS + rule + "\n mask = And (keys, seen)")


def test_the_padding_itself_is_another_mask() -> None:
    assert not is_key_mask(KEYS + "mask = Not (keys)")


def test_a_mask_of_other_inputs_is_another_mask() -> None:
    assert not is_key_mask(KEYS.replace("attention_mask", "input_ids") + "mask = Identity (keys)")


def test_nodes_that_cannot_be_run_alone_are_another_mask() -> None:
    assert not is_key_mask(KEYS + "five = Constant <value_ints = [5]> ()\n mask = Reshape (keys, five)")


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
@pytest.mark.parametrize("kind", ["bert", "xlmr"])
def test_an_encoder_is_packed_without_padding(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_batch: Callable[..., Any],
    input_names: dict[str, Any],
) -> None:
    prune(request.getfixturevalue(f"{kind}_file"), tmp_path / "pruned.onnx", 0.9)
    encode_model(tmp_path / "pruned.onnx", tmp_path / "kernel.onnx", encoding="kernel", metadata={})
    nodes = onnx.load(tmp_path / "kernel.onnx").graph.node
    assert [node.input[3] for node in nodes if node.op_type == "PackedAttention"] == ["attention_mask"] * 2
    # Of the last layer, the head reads the first tokens alone.
    assert [len(node.attribute) for node in nodes if node.op_type == "PackedAttention"] == [6, 7]
    # No node is left that made the mask [batch, 1, tokens, tokens].
    assert not {"And", "GatherND", "Range"} & {node.op_type for node in nodes}
    expected, got = (create_session(tmp_path / f"{name}.onnx") for name in ("pruned", "kernel"))
    rng = np.random.default_rng(0)
    feed = make_batch(input_names[kind], 6, 37)
    # The first token is the one that the head reads.
    feed["attention_mask"] = (rng.random((6, 37)) < 0.5) | (np.arange(37) == 0)
    feed["attention_mask"] = feed["attention_mask"].astype(np.int64)
    np.testing.assert_allclose(got.run(None, feed)[0], expected.run(None, feed)[0], rtol=0, atol=2e-6)
