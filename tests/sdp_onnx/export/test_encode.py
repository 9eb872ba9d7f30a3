from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sdp_onnx.errors import ModelFileError
from sdp_onnx.export.encode import encode_model
from sdp_onnx.model.encodings import from_coo
from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.model.model_file import check_file, file_bytes, load_structure, stored_tensors
from sdp_onnx.runtimes.onnxruntime import create_session

QUERY = "bert.encoder.layer.0.attention.self.query.weight"
EMBEDDING = "bert.embeddings.word_embeddings.weight"


def decoded(path: Path) -> dict[str, NDArray[Any]]:
    return {stored.name: stored.array() for stored in stored_tensors(load_structure(path), path)}


def save(
    path: Path, nodes: list[Any], initializers: dict[str, NDArray[Any]], inputs: list[Any], outputs: list[Any]
) -> None:
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), path)


def sparse(shape: tuple[int, ...], dtype: Any = np.float32, zeros: float = 0.95) -> NDArray[Any]:
    rng = np.random.default_rng(len(shape))
    return np.where(rng.random(shape) < zeros, 0, rng.normal(size=shape) * 20).astype(dtype)


@pytest.mark.parametrize("encoding", ["dense", "auto", "coo"])
def test_every_encoding_holds_the_same_model(
    encoding: Any, bert_file: Path, tmp_path: Path, make_batch: Callable[..., Any], input_names: dict[str, Any]
) -> None:
    target = tmp_path / "m.onnx"
    records = encode_model(bert_file, target, encoding=encoding, metadata={})
    check_file(target)
    before, after = decoded(bert_file), decoded(target)
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
        assert after[name].dtype == array.dtype
    feed = make_batch(input_names["bert"], 3, 17)
    (expected,) = create_session(bert_file).run(None, feed)
    np.testing.assert_array_equal(create_session(target).run(None, feed)[0], expected)
    assert sorted(records, key=lambda r: r.name) == sorted(inspect_model(target).tensors, key=lambda r: r.name)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_auto_makes_the_file_smaller_by_what_it_reports(bert_file: Path, tmp_path: Path) -> None:
    dense = encode_model(bert_file, tmp_path / "dense.onnx", encoding="dense", metadata={})
    auto = encode_model(bert_file, tmp_path / "auto.onnx", encoding="auto", metadata={})
    by_name = {record.name: record for record in auto}
    assert by_name[QUERY].encoding == by_name[EMBEDDING].encoding == "coo"
    assert by_name[QUERY].sparsity == pytest.approx(0.9, abs=0.05)
    assert by_name[QUERY].bytes == (by_name[QUERY].elements - by_name[QUERY].zeros) * 12
    assert by_name["bert.embeddings.LayerNorm.weight"].encoding == "dense"
    saved = sum(record.bytes for record in dense) - sum(record.bytes for record in auto)
    difference = file_bytes(tmp_path / "dense.onnx") - file_bytes(tmp_path / "auto.onnx")
    # Each COO tensor has two headers instead of one, and lost its value_info.
    assert abs(saved - difference) < 100 * len(auto)


def test_the_file_holds_checkable_linear_int64_positions(bert_file: Path, tmp_path: Path) -> None:
    encode_model(bert_file, tmp_path / "m.onnx", encoding="auto", metadata={})
    graph = onnx.load(tmp_path / "m.onnx").graph
    (query,) = [tensor for tensor in graph.sparse_initializer if tensor.values.name == QUERY]
    assert query.indices.data_type == TensorProto.INT64
    assert list(query.indices.dims) == [np.count_nonzero(from_coo(query))]
    assert list(query.dims) == [32, 32]
    assert QUERY not in {value.name for value in graph.value_info}
    assert QUERY not in {tensor.name for tensor in graph.initializer}


def test_coo_takes_half_empty_matrices_and_nothing_else(tmp_path: Path) -> None:
    arrays = {"half": sparse((40, 30), zeros=0.6), "full": sparse((40, 30), zeros=0.3), "flat": sparse((1200,))}
    node = helper.make_node("Add", ["half", "full"], ["h"]), helper.make_node("Add", ["h", "flat2"], ["y"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [40, 30])
    arrays["flat2"] = arrays["flat"][:30]
    save(tmp_path / "s.onnx", list(node), arrays, [], [out])
    for encoding, expected in (("coo", {"half"}), ("auto", {"flat"})):
        records = encode_model(tmp_path / "s.onnx", tmp_path / "t.onnx", encoding=encoding, metadata={})
        assert {record.name for record in records if record.encoding == "coo"} == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8])
def test_onnxruntime_loads_sparse_embeddings_of_every_encoded_type(dtype: Any, tmp_path: Path) -> None:
    table = sparse((200, 16), dtype)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", "tokens"])
    out = helper.make_tensor_value_info("y", element, ["rows", "tokens", 16])
    save(tmp_path / "s.onnx", [helper.make_node("Gather", ["table", "ids"], ["y"])], {"table": table}, [ids], [out])
    (record,) = encode_model(tmp_path / "s.onnx", tmp_path / "t.onnx", encoding="auto", metadata={})
    assert (record.encoding, record.dtype) == ("coo", np.dtype(dtype).name)
    check_file(tmp_path / "t.onnx")
    rows = np.arange(200).reshape(2, 100)
    np.testing.assert_array_equal(create_session(tmp_path / "t.onnx").run(None, {"ids": rows})[0], table[rows])


def test_all_zero_and_negative_zero(tmp_path: Path) -> None:
    weight = np.full((32, 32), -0.0, dtype=np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 32])
    save(tmp_path / "s.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}, [x], [y])
    (record,) = encode_model(tmp_path / "s.onnx", tmp_path / "t.onnx", encoding="auto", metadata={})
    assert (record.zeros, record.bytes, record.sparsity) == (1024, 0, 1.0)
    check_file(tmp_path / "t.onnx")
    (result,) = create_session(tmp_path / "t.onnx").run(None, {"x": np.ones((2, 32), dtype=np.float32)})
    assert not result.any()


def test_types_that_are_left_alone_survive(tmp_path: Path) -> None:
    arrays = {
        "mask": np.zeros((40, 40), dtype=np.uint8),
        "ids": np.arange(500),
        "flags": np.zeros(2000, dtype=np.bool_),
    }
    out = [
        helper.make_tensor_value_info(f"{n}_out", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in arrays.items()
    ]
    save(tmp_path / "s.onnx", [helper.make_node("Identity", [n], [f"{n}_out"]) for n in arrays], arrays, [], out)
    model = onnx.load(tmp_path / "s.onnx")
    model.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [2], [b"a", b"bc"]))
    model.graph.initializer.append(helper.make_tensor("packed", TensorProto.INT4, [3], [1, 0, -2]))
    onnx.save(model, tmp_path / "s.onnx")
    for threshold in (100, 10**9):
        records = encode_model(
            tmp_path / "s.onnx", tmp_path / "t.onnx", encoding="coo", metadata={}, external_data_threshold=threshold
        )
        assert {record.encoding for record in records} == {"dense"}
        after = decoded(tmp_path / "t.onnx")
        assert {name: array.tolist() for name, array in arrays.items()}.items() <= {
            name: array.tolist() for name, array in after.items()
        }.items()
        assert onnx.load(tmp_path / "t.onnx").graph.initializer[-2].string_data == [b"a", b"bc"]
        assert {record.name: record.zeros for record in records}["packed"] == 1


def test_metadata_is_added_to_what_is_there(bert_file: Path, tmp_path: Path) -> None:
    encode_model(bert_file, tmp_path / "a.onnx", encoding="dense", metadata={"task": "xnli", "labels": "a,b"})
    encode_model(tmp_path / "a.onnx", tmp_path / "b.onnx", encoding="auto", metadata={"labels": "x"})
    assert inspect_model(tmp_path / "b.onnx").metadata == {"task": "xnli", "labels": "x"}
    assert create_session(tmp_path / "b.onnx").get_modelmeta().custom_metadata_map == {"task": "xnli", "labels": "x"}


def test_encoding_can_be_undone_and_repeated_in_place(bert_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    original = encode_model(bert_file, target, encoding="dense", metadata={})
    encode_model(target, target, encoding="auto", metadata={}, external_data_threshold=50_000)
    encode_model(target, target, encoding="auto", metadata={}, external_data_threshold=50_000)
    again = encode_model(target, target, encoding="dense", metadata={})
    assert sorted(again, key=lambda r: r.name) == sorted(original, key=lambda r: r.name)


def test_external_source_and_target(
    bert_file: Path, tmp_path: Path, make_batch: Callable[..., Any], input_names: dict[str, Any]
) -> None:
    outside = tmp_path / "outside.onnx"
    encode_model(bert_file, outside, encoding="dense", metadata={}, external_data_threshold=10_000)
    assert (tmp_path / "outside.onnx.data").stat().st_size > 80_000
    assert outside.stat().st_size < 30_000
    # Room for the COO tensors inside, not for the dense ones beside them.
    inside_size = (
        encode_model(outside, tmp_path / "auto.onnx", encoding="auto", metadata={})
        and (tmp_path / "auto.onnx").stat().st_size
    )
    (tmp_path / "both").mkdir()
    both = tmp_path / "both" / "m.onnx"
    model = onnx.load(bert_file)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(5000, dtype=np.float32), "unused"))
    onnx.save(model, tmp_path / "more.onnx")
    records = encode_model(
        tmp_path / "more.onnx", both, encoding="auto", metadata={}, external_data_threshold=inside_size + 200
    )
    assert sorted(path.name for path in both.parent.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert {record.name: record.encoding for record in records}[QUERY] == "coo"
    feed = make_batch(input_names["bert"], 2, 9)
    (expected,) = create_session(bert_file).run(None, feed)
    for path in (outside, tmp_path / "auto.onnx", both):
        check_file(path)
        np.testing.assert_array_equal(create_session(path).run(None, feed)[0], expected)


def test_coo_tensors_that_do_not_fit_inside_are_stored_dense_largest_first(bert_file: Path, tmp_path: Path) -> None:
    auto = encode_model(bert_file, tmp_path / "a.onnx", encoding="auto", metadata={})
    limit = (tmp_path / "a.onnx").stat().st_size - 5_000
    records = encode_model(bert_file, tmp_path / "b.onnx", encoding="auto", metadata={}, external_data_threshold=limit)
    assert (tmp_path / "b.onnx").stat().st_size <= limit
    sizes = {record.name: record.bytes for record in auto if record.encoding == "coo"}
    kept = {record.name for record in records if record.encoding == "coo"}
    assert kept
    assert kept < sizes.keys()
    assert max(sizes[name] for name in kept) <= min(sizes[name] for name in sizes.keys() - kept)
    check_file(tmp_path / "b.onnx")
    assert decoded(tmp_path / "b.onnx").keys() == decoded(tmp_path / "a.onnx").keys()


def test_an_initializer_that_is_also_an_input_stays_dense(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 32])
    w = helper.make_tensor_value_info("w", TensorProto.FLOAT, [32, 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 32])
    save(tmp_path / "s.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": sparse((32, 32))}, [x, w], [y])
    (record,) = encode_model(tmp_path / "s.onnx", tmp_path / "t.onnx", encoding="auto", metadata={})
    assert record.encoding == "dense"


def test_shape_inference_still_reads_the_file(bert_file: Path, tmp_path: Path) -> None:
    encode_model(bert_file, tmp_path / "m.onnx", encoding="auto", metadata={})
    inferred = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "m.onnx"))
    assert [value.name for value in inferred.graph.output] == [v.name for v in onnx.load(bert_file).graph.output]


def test_missing_external_data_is_named(bert_file: Path, tmp_path: Path) -> None:
    encode_model(bert_file, tmp_path / "m.onnx", encoding="dense", metadata={}, external_data_threshold=10_000)
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(ModelFileError, match="embeddings"):
        encode_model(tmp_path / "m.onnx", tmp_path / "t.onnx", encoding="auto", metadata={})
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
