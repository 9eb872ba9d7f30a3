from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from sdp_onnx.model.encodings import split_coo, to_coo
from sdp_onnx.model.writer import _varint, coo_entry, dense_entry, inside_bytes, message_entry, write_model


def skeleton() -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 40])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 30])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    graph = helper.make_graph(nodes, "graph", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


@pytest.fixture
def weights() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    weight = np.where(rng.random((40, 30)) < 0.1, rng.normal(size=(40, 30)), 0).astype(np.float32)
    return {"w": weight, "b": rng.normal(size=30).astype(np.float32)}


def dense(name: str, array: NDArray[Any]) -> Any:
    return dense_entry(name, TensorProto.FLOAT, array.shape, array.nbytes, lambda: (array,))


def coo(name: str, array: NDArray[Any]) -> Any:
    return coo_entry(name, TensorProto.FLOAT, array.shape, int(np.count_nonzero(array)), lambda: split_coo(array))


def test_the_file_is_the_message_that_onnx_would_have_saved(
    tmp_path: Path, weights: dict[str, NDArray[np.float32]]
) -> None:
    entries = [coo("w", weights["w"]), dense("b", weights["b"])]
    write_model(skeleton(), entries, tmp_path / "m.onnx")
    expected = skeleton()
    expected.graph.sparse_initializer.append(to_coo(weights["w"], "w"))
    expected.graph.initializer.append(numpy_helper.from_array(weights["b"], "b"))
    assert onnx.load(tmp_path / "m.onnx") == expected
    assert sum(entry.written_size for entry in entries) == len(expected.graph.SerializeToString()) - len(
        skeleton().graph.SerializeToString()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("threshold", [0, 10**9])
def test_onnxruntime_computes_the_same_with_and_without_external_data(
    tmp_path: Path, weights: dict[str, NDArray[np.float32]], threshold: int
) -> None:
    target = tmp_path / "m.onnx"
    entries = [dense(name, array) for name, array in weights.items()]
    write_model(skeleton(), entries, target, external_data_threshold=threshold)
    onnx.checker.check_model(str(target))
    assert (tmp_path / "m.onnx.data").exists() == (threshold == 0)
    x = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
    (actual,) = ort.InferenceSession(target).run(None, {"x": x})
    np.testing.assert_allclose(actual, x @ weights["w"] + weights["b"], atol=1e-5)


def test_external_tensors_start_on_pages_and_small_ones_stay_inside(tmp_path: Path) -> None:
    arrays = {name: np.full(2000 + index, index, dtype=np.float32) for index, name in enumerate("cde")}
    entries = [dense("tiny", np.zeros(3, dtype=np.float32)), *(dense(name, array) for name, array in arrays.items())]
    write_model(skeleton(), entries, tmp_path / "m.onnx", external_data_threshold=100)
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    assert model.graph.initializer[0].raw_data == bytes(12)
    offsets = [int(entry.value) for t in model.graph.initializer for entry in t.external_data if entry.key == "offset"]
    assert offsets == [0, 8192, 16384]
    loaded = onnx.load(tmp_path / "m.onnx").graph.initializer
    for tensor in loaded[1:]:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), arrays[tensor.name])


def test_a_failure_leaves_nothing_behind_and_the_old_file_alone(tmp_path: Path) -> None:
    def fail() -> Any:
        raise MemoryError

    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    entry = dense_entry("w", TensorProto.FLOAT, (1000,), 4000, fail)
    for threshold in (0, 10**9):
        with pytest.raises(MemoryError):
            write_model(skeleton(), [entry], target, external_data_threshold=threshold)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"m.onnx": b"old"}


def test_old_external_data_goes_with_the_file_that_used_it(tmp_path: Path) -> None:
    entry = dense("w", np.ones(1000, dtype=np.float32))
    write_model(skeleton(), [entry], tmp_path / "m.onnx", external_data_threshold=0)
    write_model(skeleton(), [entry], tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_the_predicted_size_is_close_to_the_file(tmp_path: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    entries = [coo("w", weights["w"]), dense("b", np.ones(5000, dtype=np.float32))]
    for threshold, location in ((10**9, None), (0, "m.onnx.data")):
        write_model(skeleton(), entries, tmp_path / "m.onnx", external_data_threshold=threshold)
        assert abs((tmp_path / "m.onnx").stat().st_size - inside_bytes(skeleton(), entries, location=location)) < 16


def test_a_message_is_written_as_it_is(tmp_path: Path) -> None:
    tensor = helper.make_tensor("names", TensorProto.STRING, [2], [b"a", b"b"])
    write_model(skeleton(), [message_entry(tensor)], tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx").graph.initializer[0] == tensor


@given(st.integers(0, 2**40))
def test_varint_decodes_to_its_number(value: int) -> None:
    encoded = _varint(value)
    assert sum((byte & 0x7F) << 7 * index for index, byte in enumerate(encoded)) == value
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]


@pytest.mark.slow
def test_a_model_above_two_gibibytes_goes_outside_by_default(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 16384])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 16384])
    nodes = [helper.make_node("MatMul", ["x", f"w{i}"], [f"h{i}"]) for i in range(3)]
    nodes.append(helper.make_node("Sum", ["h0", "h1", "h2"], ["y"]))
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    target = tmp_path / "m.onnx"
    # One GiB each; only row 5 and column i differ from zero.
    entries = [
        dense_entry(f"w{i}", TensorProto.FLOAT, (16384, 16384), 2**30, lambda i=i: (one_hot(i),)) for i in range(3)
    ]
    write_model(model, entries, target)
    assert (tmp_path / "m.onnx.data").stat().st_size == 3 * 2**30
    onnx.checker.check_model(str(target))
    row = np.zeros((1, 16384), dtype=np.float32)
    row[0, 5] = 2.0
    (actual,) = ort.InferenceSession(target).run(None, {"x": row})
    assert np.flatnonzero(actual).tolist() == [0, 1, 2]


def one_hot(column: int) -> NDArray[np.float32]:
    array = np.zeros((16384, 16384), dtype=np.float32)
    array[5, column] = 1.0
    return array
