"""The operator set that a file declares: no newer than its operators need, and the same meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from sdp_onnx.export.encode import encode_model
from sdp_onnx.model.opset import declare_lowest, oldest_onnxruntime
from sdp_onnx.operators.library import has_library
from support.pruned_file import prune


def model(*nodes: NodeProto, opset: int = 23, ir_version: int = 11) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def declared(changed: ModelProto) -> int:
    declare_lowest(changed)
    onnx.checker.check_model(changed)
    return int(changed.opset_import[0].version)


@pytest.mark.parametrize(
    ("node", "lowest"),
    [
        # Newer versions of these take more types, and nothing else.
        (helper.make_node("Shape", ["x"], ["y"], start=-2, end=-1), 17),
        (helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT, saturate=1), 17),
        (helper.make_node("Softmax", ["x"], ["y"]), 17),
        # A new attribute, a new input, a new operator: they are needed.
        (helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT, saturate=0), 19),
        (helper.make_node("Split", ["x"], ["y", "z"], num_outputs=2, axis=1), 18),
        (helper.make_node("ReduceSum", ["x"], ["y"]), 17),
        (helper.make_node("ReduceMax", ["x"], ["y"]), 18),
        (helper.make_node("Gelu", ["x"], ["y"]), 20),
        (helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2), 21),
        (helper.make_node("Attention", ["x", "x", "x"], ["y"], q_num_heads=1, kv_num_heads=1), 23),
    ],
    ids=lambda value: value.op_type if isinstance(value, NodeProto) else str(value),
)
def test_the_lowest_operator_set_in_which_a_node_means_the_same(node: NodeProto, lowest: int) -> None:
    changed = model(node)
    declare_lowest(changed)
    assert changed.opset_import[0].version == lowest


def test_an_attribute_of_a_later_version_is_dropped_at_its_default() -> None:
    changed = model(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT, saturate=1))
    assert declared(changed) == 17
    assert [attribute.name for attribute in changed.graph.node[0].attribute] == ["to"]


def test_what_is_inside_a_branch_counts() -> None:
    branch = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    condition = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    changed = model(condition, helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))
    declare_lowest(changed)
    assert changed.opset_import[0].version == 20


@pytest.mark.parametrize(
    ("opset", "ir_version", "release"),
    [
        (17, 8, "1.17"),
        (20, 9, "1.17"),
        (20, 10, "1.18"),
        (22, 10, "1.21"),
        (23, 10, "1.23"),
        (25, 11, "1.24"),
        (99, 8, None),
    ],
)
def test_the_oldest_release_that_reads_a_file(opset: int, ir_version: int, release: str | None) -> None:
    identity = helper.make_node("Identity", ["x"], ["y"])
    assert oldest_onnxruntime(model(identity, opset=opset, ir_version=ir_version)) == release


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_encoder_on_the_operator_library_is_read_by_onnxruntime_1_17(
    precision: str, bert_file: Path, tmp_path: Path
) -> None:
    prune(bert_file, tmp_path / "pruned.onnx", 0.9)
    encode_model(tmp_path / "pruned.onnx", tmp_path / "a.onnx", encoding="kernel", precision=precision, metadata={})
    changed = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    assert {entry.domain: entry.version for entry in changed.opset_import} == {"": 17, "sdp": 1}
    assert oldest_onnxruntime(changed) == "1.17"


def test_a_dense_file_keeps_the_operator_set_of_attention(bert_file: Path, tmp_path: Path) -> None:
    encode_model(bert_file, tmp_path / "a.onnx", encoding="dense", metadata={})
    changed = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    assert oldest_onnxruntime(changed) == "1.23"


def test_a_lowered_file_gives_the_same_numbers() -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"]),
        helper.make_node("Unsqueeze", ["s", "axes"], ["u"]),
        helper.make_node("Squeeze", ["u", "axes"], ["y"]),
    ]
    first, second = model(*nodes), model(*nodes)
    for changed in (first, second):
        changed.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [0]))
    assert declared(second) == 17
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    before, after = (ort.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0] for m in (first, second))
    np.testing.assert_array_equal(before, after)
