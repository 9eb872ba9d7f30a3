"""DeBERTa's attention in the library: the same logits, in fp32 and int8; anything else is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper

from sdp_onnx.export import kernel_graph
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import has_library
from support.attention_files import INPUTS, differences, encode, number, of_type
from support.tiny_models import tiny_model

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

OPERATOR = "PackedDisentangledAttention"


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "deberta.onnx"
    export_torch(tiny_model("deberta-v2", sparsity=0.9), path, input_names=INPUTS)
    return path


def test_it_runs_in_the_library_without_padding(dense: Path, tmp_path: Path) -> None:
    operators = encode(dense, tmp_path / "m.onnx")
    assert operators[OPERATOR] == 2
    assert not operators["Softmax"] + operators["GatherElements"] + operators["Tile"]
    # From the embeddings to the first token.
    assert (operators["Pack"], operators["Unpack"]) == (1, 1)
    assert max(differences(dense, tmp_path / "m.onnx")) < 5e-6


def test_in_int8_files_keys_and_queries_of_places_are_rounded_as_before(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert encode(dense, tmp_path / "own.onnx", "int8")[OPERATOR] == 2
    monkeypatch.setattr(kernel_graph, "find_disentangled", lambda *_: [])
    assert not encode(dense, tmp_path / "other.onnx", "int8")[OPERATOR]
    # The layers' own operators round what they make of the places.
    rounding = max(differences(dense, tmp_path / "own.onnx"))
    assert max(differences(tmp_path / "other.onnx", tmp_path / "own.onnx")) < 0.05 * rounding


def divisions(model: ModelProto) -> list[NodeProto]:
    """Of the scores, one for each of the three products of a layer."""
    return [node for node in model.graph.node if node.op_type == "Div" and "sqrt" in node.input[1]]


def another_scale(model: ModelProto) -> None:
    divisions(model)[1].input[1] = number(model, 3.0)


def a_mask_that_hides_little(model: ModelProto) -> None:
    hidden = of_type(model, "Softmax").input[0]
    where = next(node for node in model.graph.node if hidden in node.output)
    where.input[1] = number(model, -5.0)


def a_second_reader(model: ModelProto) -> None:
    shares = of_type(model, "Softmax").output[0]
    model.graph.node.append(helper.make_node("ReduceMax", [shares], ["largest"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("largest", 1, []))


def other_weights_for_places(model: ModelProto) -> None:
    weight = next(name for name in (one.name for one in model.graph.initializer) if name.endswith("key_proj.weight"))
    stored = next(one for one in model.graph.initializer if one.name == weight)
    own = numpy_helper.from_array(numpy_helper.to_array(stored)[::-1].copy(), "of_places")
    model.graph.initializer.append(own)
    readers = [node for node in model.graph.node if weight in node.input]
    readers[-1].input[1] = "of_places"


def places_of_the_texts(model: ModelProto) -> None:
    """What is multiplied with the weight for places depends on the texts."""
    mask = helper.make_node("ReduceMax", ["attention_mask"], ["any"], keepdims=0)
    one = helper.make_node("Cast", ["any"], ["one"], to=1)
    weight = next(one.name for one in model.graph.initializer if one.name.endswith("key_proj.weight"))
    reader = [node for node in model.graph.node if weight in node.input][-1]
    scaled = helper.make_node("Mul", [reader.input[0], "one"], ["of_texts"])
    place = list(model.graph.node).index(reader)
    value = next(one for one in model.graph.value_info if one.name == reader.input[0])
    copy = model.graph.value_info.add()
    copy.CopyFrom(value)
    copy.name = "of_texts"
    reader.input[0] = "of_texts"
    for offset, node in enumerate((mask, one, scaled)):
        model.graph.node.insert(place + offset, node)


@pytest.mark.parametrize(
    "change",
    [another_scale, a_mask_that_hides_little, a_second_reader, other_weights_for_places, places_of_the_texts],
    ids=lambda change: change.__name__,
)
def test_anything_else_is_left_alone(change: Callable[[ModelProto], None], dense: Path, tmp_path: Path) -> None:
    model = onnx.load(dense)
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    operators = encode(tmp_path / "changed.onnx", tmp_path / "m.onnx")
    assert operators["Softmax"] > 0
    found = differences(tmp_path / "changed.onnx", tmp_path / "m.onnx")
    assert np.isfinite(found).all()
    assert max(found) < 5e-6
