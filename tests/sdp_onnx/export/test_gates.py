"""Gated feed-forward layers, norms before layers, and written-out activations in the library: the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import has_library
from support.attention_files import INPUTS, differences, encode, number, of_type
from support.tiny_models import tiny_model

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

# Of two layers: gates, sums and norms. Nothing is left to onnxruntime between the embeddings and the first token, or of
# ModernBERT and EuroBERT the last norm.
KINDS = {
    "gte": (2, 0, 0),
    "nomic_bert": (2, 0, 0),
    "modernbert": (2, 4, 4),
    "eurobert": (2, 4, 4),
    "jina_embeddings_v3": (0, 0, 0),
}


@pytest.fixture(scope="module")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The dense file of a kind, made once."""
    folder = tmp_path_factory.mktemp("files")

    def made(kind: str) -> Path:
        path = folder / f"{kind}.onnx"
        if not path.exists():
            # transformers' own activation of ALBERT; the tiny one has another.
            settings: dict[str, Any] = {"hidden_act": "gelu_new"} if kind == "albert" else {}
            export_torch(tiny_model(kind, sparsity=0.9, **settings), path, input_names=INPUTS)
        return path

    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_runs_in_the_library(kind: str, precision: str, file_of: Callable[[str], Path], tmp_path: Path) -> None:
    operators = encode(file_of(kind), tmp_path / "m.onnx", precision)
    assert tuple(operators[name] for name in ("PackedGate", "PackedAdd", "PackedNorm")) == KINDS[kind]
    assert operators["Pack"] <= 2
    assert operators["Unpack"] == 1
    int8 = precision == "int8"
    assert max(differences(file_of(kind), tmp_path / "m.onnx")) < (0.1 if int8 else 5e-6)


def test_gelu_in_its_tanh_form_is_part_of_the_layer(file_of: Callable[[str], Path], tmp_path: Path) -> None:
    operators = encode(file_of("albert"), tmp_path / "m.onnx")
    # The pooler's is left.
    assert operators["Tanh"] == 1
    assert not operators["Pow"]
    made = onnx.load(tmp_path / "m.onnx").graph.node
    activations = [one.s for node in made for one in node.attribute if one.name == "activation"]
    assert activations.count(b"gelu_tanh") == 2
    assert max(differences(file_of("albert"), tmp_path / "m.onnx")) < 5e-6


def another_cube(model: ModelProto) -> None:
    of_type(model, "Pow").input[1] = number(model, 2.0)


def another_number(model: ModelProto) -> None:
    of_type(model, "Pow")
    power = of_type(model, "Pow").output[0]
    scaled = next(node for node in model.graph.node if node.op_type == "Mul" and power in node.input)
    scaled.input[1] = number(model, 0.05)


def a_reader_of_the_activation(model: ModelProto) -> None:
    inner = of_type(model, "Tanh").output[0]
    model.graph.node.append(helper.make_node("ReduceMax", [inner], ["largest"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("largest", 1, []))


def other_halves(model: ModelProto) -> None:
    split = of_type(model, "Split")
    split.output[:] = list(reversed(split.output))


def another_gate(model: ModelProto) -> None:
    of_type(model, "Sigmoid").op_type = "Tanh"


def a_gate_of_the_other(model: ModelProto) -> None:
    """silu(x W2) (x W2) has no second product."""
    sigmoid = of_type(model, "Sigmoid")
    silu = next(node for node in model.graph.node if node.op_type == "Mul" and sigmoid.output[0] in node.input)
    gate = next(node for node in model.graph.node if node.op_type == "Mul" and silu.output[0] in node.input)
    gate.input[1] = sigmoid.input[0]


def a_norm_of_another_form(model: ModelProto) -> None:
    norm = of_type(model, "RMSNormalization", 1)
    gamma = next(one for one in model.graph.initializer if one.name == norm.input[1])
    norm.input[1] = number(model, numpy_helper.to_array(gamma)[None].tolist())


CHANGES: list[tuple[str, Callable[[ModelProto], None], str, int]] = [
    ("albert", another_cube, "Pow", 1),
    ("albert", another_number, "Pow", 1),
    ("albert", a_reader_of_the_activation, "Pow", 1),
    ("modernbert", other_halves, "Split", 1),
    ("nomic_bert", another_gate, "PackedGate", 1),
    ("nomic_bert", a_gate_of_the_other, "PackedGate", 1),
    ("eurobert", a_norm_of_another_form, "RMSNormalization", 2),
]


@pytest.mark.parametrize(
    ("kind", "change", "op_type", "count"), CHANGES, ids=lambda value: getattr(value, "__name__", None)
)
def test_anything_else_is_left_alone(
    kind: str,
    change: Callable[[ModelProto], None],
    op_type: str,
    count: int,
    file_of: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    model = onnx.load(file_of(kind))
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    operators = encode(tmp_path / "changed.onnx", tmp_path / "m.onnx")
    assert operators[op_type] == count
    assert max(differences(tmp_path / "changed.onnx", tmp_path / "m.onnx")) < 5e-6
