"""Encoders rewritten for the operator library, against the same file run by onnxruntime alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from sdp_onnx.deploy.verify import zeros_by_tensor
from sdp_onnx.errors import OperatorLibraryError
from sdp_onnx.export.encode import encode_model
from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.model.model_file import check_file, load_structure, stored_tensors
from sdp_onnx.operators import library as operator_library
from sdp_onnx.operators.kernel_weights import kernel_weights
from sdp_onnx.operators.library import has_library, instruction_set, library_path
from sdp_onnx.operators.weight_formats import round_rows
from sdp_onnx.runtimes.onnxruntime import create_session
from support.pruned_file import prune

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def encode(source: Path, target: Path) -> None:
    encode_model(source, target, encoding="kernel", metadata={})


def same_answers(plain: Path, rewritten: Path, make_batch: Callable[..., Any], names: tuple[str, ...]) -> None:
    expected, got = create_session(plain), create_session(rewritten)
    for batch, length in [(1, 1), (1, 16), (3, 7), (2, 33)]:
        inputs = make_batch(names, batch, length)
        first, second = expected.run(None, inputs)[0], got.run(None, inputs)[0]
        assert isinstance(first, np.ndarray)
        assert isinstance(second, np.ndarray)
        np.testing.assert_allclose(second, first, rtol=0, atol=2e-6 * np.abs(first).max())


@pytest.fixture
def pruned(bert_file: Path, tmp_path: Path) -> Path:
    target = tmp_path / "pruned.onnx"
    prune(bert_file, target, 0.9)
    return target


def test_a_sparse_encoder_stays_packed_from_its_first_layer_to_its_last(
    pruned: Path, tmp_path: Path, make_batch: Callable[..., Any], input_names: dict[str, Any]
) -> None:
    target = tmp_path / "kernel.onnx"
    encode(pruned, target)
    check_file(target)
    before, after = operators(pruned), operators(target)
    layers = before["Attention"]
    assert after["SparseLinear"] == 4 * layers
    assert after["PackedAttention"] == layers
    assert (after["PackedEmbedding"], after["Pack"], after["Unpack"]) == (1, 0, 1)
    assert after["Attention"] == after["Gelu"] == 0
    # What is left is the head's.
    assert after["LayerNormalization"] == before["LayerNormalization"] - 2 * layers - 1
    same_answers(pruned, target, make_batch, input_names["bert"])


def test_the_file_holds_the_parameters_under_their_names(pruned: Path, tmp_path: Path) -> None:
    target = tmp_path / "kernel.onnx"
    encode(pruned, target)
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load(pruned).graph.initializer}
    model = load_structure(target)
    found = dict(kernel_weights(model, {t.name: t for t in stored_tensors(model, target)}))
    assert found.keys() == {name for name, array in before.items() if "encoder.layer" in name and array.ndim == 2}
    for name, array in found.items():
        np.testing.assert_array_equal(array, before[name])
    zeros = zeros_by_tensor(target)
    by_name = {tensor.name: tensor for tensor in inspect_model(target).tensors}
    for name, array in found.items():
        assert zeros[name] == (array.size - np.count_nonzero(array), array.size)
        assert by_name[name].encoding == "kernel"
        assert by_name[name].zeros == zeros[name][0]
    assert sum(t.bytes for t in by_name.values()) <= target.stat().st_size


def test_a_dense_encoder_is_left_alone(bert_file: Path, tmp_path: Path) -> None:
    prune(bert_file, tmp_path / "dense.onnx", 0.0)
    encode(tmp_path / "dense.onnx", tmp_path / "kernel.onnx")
    assert operators(tmp_path / "kernel.onnx") == operators(bert_file)


def test_an_encoder_that_is_not_sparse_enough_as_a_whole_is_left_alone(bert_file: Path, tmp_path: Path) -> None:
    """Half of its layers are, just so: a gain as small as that is left."""
    prune(bert_file, tmp_path / "half.onnx", 0.49, dense="layer.1.")
    encode(tmp_path / "half.onnx", tmp_path / "kernel.onnx")
    assert operators(tmp_path / "kernel.onnx") == operators(bert_file)


@pytest.mark.parametrize("dense", ["query", "key.weight", "attention.output", "intermediate", "layer.1."])
def test_dense_layers_among_sparse_ones_join_the_packed_layout(
    dense: str, bert_file: Path, tmp_path: Path, make_batch: Callable[..., Any], input_names: dict[str, Any]
) -> None:
    prune(bert_file, tmp_path / "some.onnx", 0.9, dense=dense)
    encode(tmp_path / "some.onnx", tmp_path / "kernel.onnx")
    after = operators(tmp_path / "kernel.onnx")
    assert after["SparseLinear"]
    assert after["DenseLinear"]
    same_answers(tmp_path / "some.onnx", tmp_path / "kernel.onnx", make_batch, input_names["bert"])


def test_weights_may_lie_outside_the_file(
    pruned: Path, tmp_path: Path, make_batch: Callable[..., Any], input_names: dict[str, Any]
) -> None:
    target = tmp_path / "kernel.onnx"
    encode_model(pruned, target, encoding="kernel", metadata={}, external_data_threshold=0)
    assert target.with_name("kernel.onnx.data").is_file()
    same_answers(pruned, target, make_batch, input_names["bert"])


def test_the_value_before_a_fused_operator_can_still_be_an_output(tmp_path: Path) -> None:
    """Nothing that somebody else reads is fused away."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((8, 16)) * (rng.random((8, 16)) < 0.2)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Add", ["b", "m"], ["linear"]),
            helper.make_node("Gelu", ["linear"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "tokens", 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens", 16]) for name in ("y", "linear")],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.arange(16, dtype=np.float32), "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "a.onnx")
    encode(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert operators(tmp_path / "b.onnx") == {"Shape": 1, "Pack": 1, "SparseLinear": 1, "Unpack": 1, "Gelu": 1}
    inputs = {"x": rng.standard_normal((2, 5, 8)).astype(np.float32)}
    for first, second in zip(
        create_session(tmp_path / "a.onnx").run(None, inputs),
        create_session(tmp_path / "b.onnx").run(None, inputs),
        strict=True,
    ):
        np.testing.assert_allclose(np.asarray(second), np.asarray(first), atol=1e-6)


def test_without_the_library_the_error_gives_the_command(
    pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(pruned, tmp_path / "kernel.onnx")
    monkeypatch.setattr(operator_library, "LIBRARY_NAME", "absent.so")
    with pytest.raises(OperatorLibraryError, match=r"apt install g\+\+"):
        create_session(tmp_path / "kernel.onnx")


def test_impossible_kernels_are_refused(pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(pruned, tmp_path / "kernel.onnx")
    monkeypatch.setenv("SDP_KERNELS", "abacus")
    with pytest.raises(OperatorLibraryError, match="abacus"):
        instruction_set()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(os.fspath(library_path()))
    with pytest.raises(Exception, match="abacus"):
        ort.InferenceSession(tmp_path / "kernel.onnx", options, providers=["CPUExecutionProvider"])


def test_an_attention_whose_weights_read_inputs_of_other_widths_is_left_alone(pruned: Path, tmp_path: Path) -> None:
    """A damaged file: its layers cannot be joined into one operator."""
    model = onnx.load(pruned)
    key = next(tensor for tensor in model.graph.initializer if "layer.0" in tensor.name and "key.weight" in tensor.name)
    wider = np.concatenate([numpy_helper.to_array(key)] * 2)
    key.CopyFrom(numpy_helper.from_array(wider, key.name))
    onnx.save(model, tmp_path / "damaged.onnx")
    encode(tmp_path / "damaged.onnx", tmp_path / "encoded.onnx")
    assert operators(tmp_path / "encoded.onnx")["PackedAttention"] == operators(pruned)["Attention"] - 1


def test_rows_are_rounded_to_the_nearest_of_255_steps() -> None:
    weight = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)
    weight[2] = 0
    rounded, scale = round_rows(weight)
    assert rounded.dtype == np.int8
    assert (np.abs(rounded).max(axis=1) == np.where(np.arange(6) == 2, 0, 127)).all()
    assert (np.abs(rounded * scale[:, None] - weight) <= scale[:, None] * 0.5001).all()


@pytest.mark.parametrize("sparsity", [0.9, 0.0])
def test_an_int8_encoder_is_close_and_small(
    sparsity: float, bert_file: Path, tmp_path: Path, make_batch: Callable[..., Any], input_names: dict[str, Any]
) -> None:
    prune(bert_file, tmp_path / "pruned.onnx", sparsity)
    target = tmp_path / "int8.onnx"
    records = encode_model(tmp_path / "pruned.onnx", target, encoding="kernel", precision="int8", metadata={})
    check_file(target)
    layers = operators(bert_file)["Attention"]
    assert operators(target)["SparseLinearInt8" if sparsity else "DenseLinearInt8"] == 4 * layers
    assert operators(target)["PackedAttentionInt8"] == layers
    inside = [record for record in records if record.encoding == "kernel" and len(record.shape) == 2]
    assert sum(r.bytes for r in inside) < 0.5 * sum(r.elements * 4 for r in inside)
    inputs = make_batch(input_names["bert"], 3, 20)
    expected = np.asarray(create_session(tmp_path / "pruned.onnx").run(None, inputs)[0])
    got = np.asarray(create_session(target).run(None, inputs)[0])
    assert 0 < np.abs(got - expected).max() < 0.05 * np.abs(expected).max()
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "pruned.onnx").graph.initializer}
    model = load_structure(target)
    for name, array in kernel_weights(model, {t.name: t for t in stored_tensors(model, target)}):
        assert (array[before[name] == 0] == 0).all()
        assert np.abs(array - before[name]).max() < np.abs(before[name]).max() / 200


def test_a_large_embedding_table_becomes_rows_of_int8(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((300, 8)).astype(np.float32)
    weight = rng.standard_normal((8, 16)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["x"]), helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "tokens", 16])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "w")],
        value_info=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "tokens", 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "a.onnx")
    records = encode_model(tmp_path / "a.onnx", tmp_path / "b.onnx", encoding="kernel", precision="int8", metadata={})
    assert {record.name: record.bytes for record in records}["table"] == 300 * (8 + 4)
    ids = rng.integers(0, 300, (2, 5))
    got = np.asarray(create_session(tmp_path / "b.onnx").run(None, {"ids": ids})[0])
    assert np.abs(got - table[ids] @ weight).max() < 0.05 * np.abs(table[ids] @ weight).max()
