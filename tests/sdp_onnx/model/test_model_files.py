"""Damaged and hostile files, through every function that opens one; and what inspection says about sound ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from sdp_onnx.deploy.verify import zeros_by_tensor
from sdp_onnx.errors import ModelFileError, UsageError
from sdp_onnx.export.encode import encode_model
from sdp_onnx.model.encodings import to_coo
from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.model.model_file import check_file, file_bytes
from sdp_onnx.runtimes.onnxruntime import create_session

READERS: list[Callable[[Path], object]] = [inspect_model, check_file, create_session, zeros_by_tensor]


def product(weight: np.ndarray, *, location: str | None = None, sparse: bool = False) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", weight.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", weight.shape[1]])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y])
    if sparse:
        graph.sparse_initializer.append(to_coo(weight, "w"))
    else:
        graph.initializer.append(numpy_helper.from_array(weight, "w"))
    if location is not None:
        external_data_helper.set_external_data(graph.initializer[0], location, 0, weight.nbytes)
        graph.initializer[0].ClearField("raw_data")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [b"", b"not a model\n", b"\x08\x0a", b"\xff" * 300])
def test_what_is_not_a_model_is_refused(read: Callable[[Path], object], content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read(path)
    assert caught.value.where == str(path)
    assert caught.value.hint
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("read", READERS)
def test_a_truncated_model_is_refused(read: Callable[[Path], object], bert_file: Path, tmp_path: Path) -> None:
    content = bert_file.read_bytes()
    path = tmp_path / "m.onnx"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError):
        read(path)


@pytest.mark.parametrize("damaged", [b"a name", b"an output", b"a value"])
def test_texts_that_are_not_utf8_are_refused(damaged: bytes, bert_file: Path, tmp_path: Path) -> None:
    model = onnx.load(bert_file)
    model.graph.node[-1].name, model.graph.output[0].name = "a name", "an output"
    model.metadata_props.add(key="a key", value="a value")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString().replace(damaged, damaged.replace(b"a", b"\xff")))
    with pytest.raises(ModelFileError, match="UTF-8"):
        inspect_model(path)


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_or_a_folder_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelFileError):
            read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_external_data_outside_the_folder_is_refused(read: Callable[[Path], object], kind: str, tmp_path: Path) -> None:
    weight = np.ones((20, 20), dtype=np.float32)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(weight.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    location = {"parent": "../secret.bin", "absolute": str(secret), "link": "link.bin"}[kind]
    path = folder / "m.onnx"
    path.write_bytes(product(weight, location=location).SerializeToString())
    with pytest.raises(ModelFileError):
        read(path)


# The ONNX checker does not look at the length of external data.
@pytest.mark.parametrize("read", [inspect_model, create_session, zeros_by_tensor])
def test_external_data_that_is_too_short_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(product(np.ones((20, 20), dtype=np.float32), location="w.bin").SerializeToString())
    (tmp_path / "w.bin").write_bytes(b"\0" * 100)
    with pytest.raises(ModelFileError):
        read(path)


@pytest.mark.parametrize("read", [check_file, create_session])
def test_a_position_outside_a_sparse_tensor_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    model = product(np.eye(20, dtype=np.float32), sparse=True)
    sparse = model.graph.sparse_initializer[0]
    sparse.indices.raw_data = sparse.indices.raw_data[:-8] + (10**9).to_bytes(8, "little")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError):
        read(tmp_path / "m.onnx")


def test_a_sparse_tensor_that_claims_a_huge_shape_costs_no_memory(tmp_path: Path) -> None:
    model = product(np.eye(20, dtype=np.float32), sparse=True)
    model.graph.sparse_initializer[0].dims[0] = 2**40
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert zeros_by_tensor(tmp_path / "m.onnx") == {"w": (2**40 * 20 - 20, 2**40 * 20)}


def test_more_values_than_room_are_refused(tmp_path: Path) -> None:
    model = product(np.eye(20, dtype=np.float32), sparse=True)
    model.graph.sparse_initializer[0].dims[:] = [2, 2]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="more values"):
        zeros_by_tensor(tmp_path / "m.onnx")


def test_zeros_are_the_same_in_both_encodings(bert_file: Path, tmp_path: Path) -> None:
    encode_model(bert_file, tmp_path / "m.onnx", encoding="auto", metadata={})
    expected = {
        tensor.name: (int(np.sum(numpy_helper.to_array(tensor) == 0)), numpy_helper.to_array(tensor).size)
        for tensor in onnx.load(bert_file).graph.initializer
    }
    assert zeros_by_tensor(bert_file) == zeros_by_tensor(tmp_path / "m.onnx") == expected


def test_a_summary_is_json_and_complete(bert_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    encode_model(bert_file, target, encoding="dense", metadata={"key": "value"}, external_data_threshold=10_000)
    summary = inspect_model(target)
    assert summary.file_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    content = json.loads(json.dumps(summary.to_json()))
    assert content["metadata"] == {"key": "value"}
    assert content["inputs"][0] == {"name": "input_ids", "dtype": "int64", "shape": ["batch", "sequence"]}
    counts = list(content["operators"].values())
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == len(onnx.load(target).graph.node)
    query = next(tensor for tensor in content["tensors"] if tensor["name"].endswith("0.attention.self.query.weight"))
    assert query["sparsity"] == query["zeros"] / 1024
    assert query["shape"] == [32, 32]


def test_the_size_counts_external_data_once_and_misses_it_when_gone(bert_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    encode_model(bert_file, target, encoding="dense", metadata={}, external_data_threshold=10_000)
    (tmp_path / "unrelated.bin").write_bytes(b"1234")
    assert file_bytes(target) == target.stat().st_size + (tmp_path / "m.onnx.data").stat().st_size
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(ModelFileError, match=r"\.data"):
        file_bytes(target)
