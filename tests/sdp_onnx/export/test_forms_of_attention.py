"""Attention of other forms than BERT's: products and a Softmax, a bias of relative positions, rotary positions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, helper

from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import has_library
from support.attention_files import INPUTS, differences, encode, number, of_type
from support.tiny_models import tiny_model

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

KINDS = {"mpnet": True, "rembert": False}  # with a bias, and without
ROTARY = ("jina_embeddings_v3", "eurobert")


@pytest.fixture(scope="module")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The dense file of a kind, made once."""
    folder = tmp_path_factory.mktemp("files")

    def made(kind: str) -> Path:
        path = folder / f"{kind}.onnx"
        if not path.exists():
            export_torch(tiny_model(kind, sparsity=0.9), path, input_names=INPUTS)
        return path

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_written_out_it_runs_in_the_library(kind: str, file_of: Callable[[str], Path], tmp_path: Path) -> None:
    operators = encode(file_of(kind), tmp_path / "m.onnx")
    assert operators["PackedAttention"] == 2
    assert operators["Softmax"] == 0
    # One product for queries, keys and values; from the embeddings to the head nothing is unpacked.
    assert operators["SparseLinear"] == 8
    assert (operators["PackedEmbedding"], operators["Unpack"]) == (1, 1)
    biases = [node.input[5:] for node in onnx.load(tmp_path / "m.onnx").graph.node if node.op_type == "PackedAttention"]
    assert all(len(own) == KINDS[kind] for own in biases)
    assert max(differences(file_of(kind), tmp_path / "m.onnx")) < 5e-6


@pytest.mark.parametrize("kind", KINDS)
def test_in_int8_files_it_stays_in_fp32(kind: str, file_of: Callable[[str], Path], tmp_path: Path) -> None:
    operators = encode(file_of(kind), tmp_path / "m.onnx", "int8")
    assert (operators["PackedAttention"], operators["PackedAttentionInt8"]) == (2, 0)
    assert max(differences(file_of(kind), tmp_path / "m.onnx")) < 0.1


@pytest.mark.parametrize("kind", ROTARY)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_rotary_positions_run_in_the_library(
    kind: str, precision: str, file_of: Callable[[str], Path], tmp_path: Path
) -> None:
    operators = encode(file_of(kind), tmp_path / "m.onnx", precision)
    int8 = "Int8" if precision == "int8" else ""
    assert operators[f"PackedAttention{int8}"] == 2
    # One for a layer, or of queries and keys by themselves where one of them is dense and the other sparse.
    assert 2 <= operators["PackedRotary"] <= 4
    assert operators["RotaryEmbedding"] == operators["Attention"] == 0
    attentions = [node for node in onnx.load(tmp_path / "m.onnx").graph.node if "Attention" in node.op_type]
    assert {node.input[3] for node in attentions} == {"attention_mask"}, "without padding"
    assert max(differences(file_of(kind), tmp_path / "m.onnx")) < (0.1 if int8 else 5e-6)


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


def other_angles_for_keys(model: ModelProto) -> None:
    of_type(model, "Cos", 1).op_type = "Sin"


def pairs_of_neighbours(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "RotaryEmbedding":
            next(one for one in node.attribute if one.name == "interleaved").i = 1


def only_queries(model: ModelProto) -> None:
    rotary = of_type(model, "RotaryEmbedding", 1)
    of_type(model, "Attention").input[1] = rotary.input[0]


def test_one_layer_makes_queries_keys_and_values(file_of: Callable[[str], Path], tmp_path: Path) -> None:
    """ModernBERT: its last layer sees a window of neighbours, so that padding stays, with a mask for each layer."""
    for precision in ("fp32", "int8"):
        operators = encode(file_of("modernbert"), tmp_path / "m.onnx", precision)
        assert operators["PackedRotary"] == 2
        assert operators["RotaryEmbedding"] == operators["Attention"] == 0
        whole, window = (1, 1) if precision == "int8" else (0, 2)
        assert (operators["PackedAttentionInt8"], operators["PackedAttention"]) == (whole, window)
        # Queries, keys and values, the output, and two of the feed-forward network.
        assert operators["SparseLinear"] + operators["SparseLinearInt8"] + operators["DenseLinearInt8"] == 8
        assert max(differences(file_of("modernbert"), tmp_path / "m.onnx")) < (0.1 if precision == "int8" else 5e-6)


def keys_before_queries(model: ModelProto) -> None:
    first, second = (of_type(model, "Slice", place) for place in (0, 1))
    first.input[1], second.input[1] = second.input[1], first.input[1]
    first.input[2], second.input[2] = second.input[2], first.input[2]


def keys_are_queries(model: ModelProto) -> None:
    first, second = (of_type(model, "Slice", place) for place in (0, 1))
    second.input[1], second.input[2] = first.input[1], first.input[2]


# The kind, what is changed, and in how many of the two layers attention is then left alone. A bias needs all of MPNet's
# attention without padding: where one layer is left alone, so is the other.
CHANGES: list[tuple[str, Callable[[ModelProto], None], int]] = [
    ("mpnet", other_axis, 2),
    ("mpnet", a_scale_of_each_head, 2),
    ("mpnet", a_second_reader, 2),
    ("mpnet", a_mask_that_hides_little, 2),
    ("mpnet", a_bias_of_each_text, 2),
    ("jina_embeddings_v3", other_angles_for_keys, 1),
    ("jina_embeddings_v3", pairs_of_neighbours, 2),
    ("jina_embeddings_v3", only_queries, 1),
    ("modernbert", keys_before_queries, 1),
    ("modernbert", keys_are_queries, 1),
]


@pytest.mark.parametrize(("kind", "change", "left"), CHANGES)
def test_anything_else_is_left_alone(
    kind: str, change: Callable[[ModelProto], None], left: int, file_of: Callable[[str], Path], tmp_path: Path
) -> None:
    model = onnx.load(file_of(kind))
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    operators = encode(tmp_path / "changed.onnx", tmp_path / "m.onnx")
    assert operators["Softmax"] + operators["Attention"] == left
    assert max(differences(tmp_path / "changed.onnx", tmp_path / "m.onnx")) < 5e-6
