"""Attention that is products and a Softmax in the exported file, with and without a bias of relative positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.onnxruntime import create_session
from support.tiny_models import tiny_model

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

INPUTS = ("input_ids", "attention_mask")
KINDS = {"mpnet": True, "rembert": False}  # with a bias, and without


@pytest.fixture(scope="module", params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / f"{request.param}.onnx"
    export_torch(tiny_model(request.param, sparsity=0.9), path, input_names=INPUTS)
    return path


@pytest.fixture(scope="module")
def mpnet(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    path = tmp_path_factory.mktemp("mpnet") / "m.onnx"
    export_torch(tiny_model("mpnet", sparsity=0.9), path, input_names=INPUTS)
    return onnx.load(path)


def encode(source: Path, target: Path, precision: Any = "fp32") -> Counter[str]:
    encode_model(source, target, encoding="kernel", precision=precision, metadata={})
    return Counter(node.op_type for node in onnx.load(target).graph.node)


def batch(rows: int, tokens: int, *, holes: bool = False) -> dict[str, NDArray[np.int64]]:
    """Texts of different lengths; the first is whole."""
    rng = np.random.default_rng(tokens)
    mask = (np.arange(tokens) < rng.integers(1, tokens + 1, (rows, 1))).astype(np.int64)
    mask[0] = 1
    if holes:
        mask = rng.permuted(mask, axis=1)
        # The head reads the first token.
        mask[:, 0] = 1
    return {"input_ids": np.where(mask == 1, rng.integers(5, 40, mask.shape), 1), "attention_mask": mask}


BATCHES = [batch(1, 1), batch(1, 16), batch(3, 7), batch(2, 33), batch(5, 20, holes=True)]


def differences(plain: Path, encoded: Path) -> list[float]:
    """The largest difference of logits in each batch, against the largest logit."""
    first, second = create_session(plain), create_session(encoded)
    found = []
    for feed in BATCHES:
        expected, got = (np.asarray(session.run(None, feed)[0]) for session in (first, second))
        found.append(float(np.abs(expected - got).max() / np.abs(expected).max()))
    return found


def test_it_runs_in_the_library(file: Path, tmp_path: Path) -> None:
    operators = encode(file, tmp_path / "m.onnx")
    assert operators["PackedAttention"] == 2
    assert operators["Softmax"] == 0
    # One product for queries, keys and values; from the embeddings to the head nothing is unpacked.
    assert operators["SparseLinear"] == 8
    assert (operators["PackedEmbedding"], operators["Unpack"]) == (1, 1)
    biases = [node.input[5:] for node in onnx.load(tmp_path / "m.onnx").graph.node if node.op_type == "PackedAttention"]
    assert all(len(own) == KINDS[file.stem] for own in biases)
    assert max(differences(file, tmp_path / "m.onnx")) < 5e-6


def test_in_int8_files_it_stays_in_fp32(file: Path, tmp_path: Path) -> None:
    operators = encode(file, tmp_path / "m.onnx", "int8")
    assert (operators["PackedAttention"], operators["PackedAttentionInt8"]) == (2, 0)
    assert max(differences(file, tmp_path / "m.onnx")) < 0.1


def of_type(model: ModelProto, op_type: str, place: int = 0) -> NodeProto:
    return [node for node in model.graph.node if node.op_type == op_type][place]


def number(model: ModelProto, value: float | list[float]) -> str:
    """A new initializer."""
    name = f"number/{len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return name


def other_axis(model: ModelProto) -> None:
    of_type(model, "Softmax").attribute[0].i = 2


def a_scale_of_each_head(model: ModelProto) -> None:
    scaled = next(node for node in model.graph.node if node.op_type == "Div" and "matmul" in node.input)
    scaled.input[1] = number(model, [[[2.0]], [[3.0]]])


def a_second_reader(model: ModelProto) -> None:
    scores = of_type(model, "Softmax").output[0]
    model.graph.node.append(helper.make_node("ReduceMax", [scores], ["largest"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("largest", 1, []))


def a_mask_that_hides_little(model: ModelProto) -> None:
    where = next(node for node in model.graph.node if node.op_type == "Where" and "where" in node.output)
    where.input[2] = number(model, -5.0)


def a_bias_of_each_text(model: ModelProto) -> None:
    """[1, heads, tokens, tokens] becomes [batch, ...], as the file declares it."""
    for value in model.graph.value_info:
        if value.name == of_type(model, "Expand", -1).input[0]:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"


@pytest.mark.parametrize(
    "change", [other_axis, a_scale_of_each_head, a_second_reader, a_mask_that_hides_little, a_bias_of_each_text]
)
def test_anything_else_is_left_alone(change: Callable[[ModelProto], None], mpnet: ModelProto, tmp_path: Path) -> None:
    model = ModelProto()
    model.CopyFrom(mpnet)
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    operators = encode(tmp_path / "changed.onnx", tmp_path / "m.onnx")
    assert operators["Softmax"] >= 1
    assert max(differences(tmp_path / "changed.onnx", tmp_path / "m.onnx")) < 5e-6
