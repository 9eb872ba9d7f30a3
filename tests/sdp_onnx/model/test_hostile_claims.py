"""Files whose few bytes claim what memory could not hold, or that name files outside their folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from sdp_onnx.deploy.verify import zeros_by_tensor
from sdp_onnx.errors import ModelFileError
from sdp_onnx.export.encode import encode_model
from sdp_onnx.model.encodings import from_coo, to_coo
from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.model.model_file import file_bytes
from sdp_onnx.operators.library import DOMAIN
from sdp_onnx.operators.weight_formats import round_rows
from support.toy import ONE_THREAD

Change = Callable[[NodeProto, ModelProto], object]


@pytest.mark.parametrize("shape", [[2**20, 2**16], [2**62, 2], [-1, 4]])
def test_few_values_that_claim_a_huge_tensor(shape: list[int]) -> None:
    sparse = to_coo(np.eye(4, dtype=np.float32), "w")
    sparse.dims[:] = shape
    with pytest.raises((ModelFileError, ValueError)):
        from_coo(sparse)


def test_a_large_layer_of_zeros_is_no_claim() -> None:
    sparse: SparseTensorProto = to_coo(np.zeros((2048, 2048), np.float32), "w")
    assert from_coo(sparse).shape == (2048, 2048)


@pytest.mark.parametrize("location", ["/etc/passwd", "../x.bin", "inner/../../x.bin", ".", "a\0b"])
def test_the_size_of_a_file_elsewhere_is_not_counted(location: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    graph = helper.make_graph([], "g", [], [], [tensor])
    onnx.save(helper.make_model(graph), folder / "m.onnx")
    with pytest.raises(ModelFileError, match="cannot be read"):
        file_bytes(folder / "m.onnx")


def attribute(name: str, value: object) -> Change:
    def change(node: NodeProto, _: ModelProto) -> None:
        old = next(found for found in node.attribute if found.name == name)
        old.CopyFrom(helper.make_attribute(name, value))

    return change


def without(name: str) -> Change:
    def change(node: NodeProto, _: ModelProto) -> None:
        node.attribute.remove(next(found for found in node.attribute if found.name == name))

    return change


CHANGES: dict[str, Change] = {
    "huge": attribute("in_features", 2**40),
    "negative": attribute("out_features", -4),
    "text": attribute("in_features", "many"),
    "widths": attribute("widths", [1, 2]),
    "no widths": attribute("widths", [0]),
    "names": attribute("weights", ["a", "a"]),
    "numbers for names": attribute("weights", [1]),
    "no names": without("weights"),
    "no slices": attribute("slice", 0),
    "no inputs": lambda node, _: node.ClearField("input"),
    "no tensors": lambda _, model: model.graph.ClearField("initializer"),
    "no UTF-8": attribute("activation", b"\xff\xfe"),
}


@pytest.fixture(scope="module")
def kernel_model(xlmr_file: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    target = tmp_path_factory.mktemp("kernel") / "m.onnx"
    encode_model(xlmr_file, target, encoding="kernel", metadata={})
    return onnx.load(target)


@pytest.mark.parametrize("read", [inspect_model, zeros_by_tensor])
@pytest.mark.parametrize("change", CHANGES)
def test_an_operator_that_contradicts_its_tensors(
    change: str, read: Callable[[Path], object], kernel_model: ModelProto, tmp_path: Path
) -> None:
    model = ModelProto()
    model.CopyFrom(kernel_model)
    node = next(node for node in model.graph.node if node.domain == DOMAIN and node.op_type == "SparseLinear")
    CHANGES[change](node, model)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelFileError):
        read(tmp_path / "m.onnx")


@pytest.mark.parametrize("encoding", ["auto", "kernel"])
@pytest.mark.parametrize("damage", ["circle", "one input"])
def test_a_graph_against_the_standard_is_not_encoded(
    encoding: str, damage: str, xlmr_file: Path, tmp_path: Path
) -> None:
    model = onnx.load(xlmr_file)
    node = next(node for node in model.graph.node if node.op_type == "MatMul")
    if damage == "circle":
        node.input[0] = node.output[0]
    else:
        del node.input[1]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match="ONNX checker"):
        encode_model(tmp_path / "m.onnx", tmp_path / "out.onnx", encoding=encoding, metadata={})  # type: ignore[arg-type]
    assert not (tmp_path / "out.onnx").exists()


def test_rounding_row_by_row_is_rounding_at_once() -> None:
    weight = np.random.default_rng(0).normal(size=(9000, 8)).astype(np.float32)
    weight[5] = 0
    values, scale = round_rows(weight)
    largest = np.abs(weight).max(axis=1)
    expected = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    np.testing.assert_array_equal(scale, expected)
    np.testing.assert_array_equal(values, np.rint(weight / expected[:, None]))


# In a process of its own: pytest keeps what torch's tracing logs, and with it the model.
EXPORT_AND_COUNT = """
import gc, sys, weakref
from pathlib import Path
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification
from sdp_onnx.export.torch_export import export_torch
sizes = {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**sizes, vocab_size=100, max_position_embeddings=100))
held = [weakref.ref(parameter) for parameter in model.parameters()]
export_torch(model, Path(sys.argv[1]), input_names=("input_ids", "attention_mask"))
del model
gc.collect()
print(len(held), sum(parameter() is not None for parameter in held))
"""


def test_export_lets_go_of_the_model(tmp_path: Path) -> None:
    command = [sys.executable, "-c", EXPORT_AND_COUNT, tmp_path / "m.onnx"]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, check=True, timeout=120)
    assert numpy_helper.to_array(onnx.load(tmp_path / "m.onnx").graph.initializer[0]).size > 0
    parameters, alive = map(int, done.stdout.split()[-2:])
    assert parameters > 10
    assert alive == 0
