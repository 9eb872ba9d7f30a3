"""Weights that several layers share, in every encoding; and kinds of models whose graphs are of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedModel

from sdp.models.architectures import ARCHITECTURES, find_architecture
from sdp.models.layers import prunable_weights
from sdp_onnx.deploy.verify import verify_logits, zeros_by_tensor
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.model.linear_layers import linear_layers
from sdp_onnx.model.model_file import check_file
from sdp_onnx.operators.library import has_library
from support.tiny_models import tiny_model

INPUTS = ("input_ids", "attention_mask")
SHAPES = [(1, 1), (1, 17), (2, 5), (3, 16), (3, 31)]
ENCODINGS = ["dense", "coo", "auto", "kernel", "int8"]
SHARED = ("albert", "deberta-v2")
ATTENTION = ("PackedAttention", "PackedAttentionInt8", "PackedDisentangledAttention")
# Exporting takes seconds each.
SLOW = [row.model_type for row in ARCHITECTURES if not row.refused and row.model_type not in SHARED]


@dataclass(frozen=True)
class Case:
    """A model, its dense file, and its logits for some inputs."""

    model: PreTrainedModel
    file: Path
    batches: list[tuple[Any, Any]]


def tied(*, biases: bool) -> Any:
    """A BERT whose two layers are one, or have the same matrices with other biases and norms."""
    model = tiny_model("bert", sparsity=0.9)
    first, second = model.bert.encoder.layer
    if not biases:
        model.bert.encoder.layer[1] = first
    for own, other in zip(first.modules(), second.modules(), strict=True) if biases else ():
        if isinstance(own, torch.nn.Linear):
            other.weight = own.weight
    return model


def build(kind: str) -> Any:
    if kind.startswith("tied"):
        return tied(biases=kind.endswith("biases"))
    return tiny_model(kind, sparsity=0.9)


@pytest.fixture(scope="module", params=SHARED)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(request.param, tmp_path_factory.mktemp("case"))


def make_case(kind: str, folder: Path, **options: Any) -> Case:
    model = build(kind)
    export_torch(model, folder / "m.onnx", input_names=INPUTS, **options)
    return Case(model, folder / "m.onnx", list(answers(model)))


def answers(model: PreTrainedModel) -> Iterator[tuple[Any, Any]]:
    """Inputs with real padding, and torch's logits."""
    for rows, tokens in SHAPES:
        rng = np.random.default_rng(tokens)
        mask = np.ones((rows, tokens), dtype=np.int64)
        for row in range(1, rows):
            mask[row, max(1, tokens - row * tokens // 3) :] = 0
        feed = {"input_ids": np.where(mask == 1, rng.integers(5, 40, (rows, tokens)), 1), "attention_mask": mask}
        with torch.no_grad():
            yield feed, model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()


def encode(case: Case, target: Path, encoding: str) -> None:
    kernel = encoding in ("kernel", "int8")
    if kernel and not has_library():
        pytest.skip("installed without a C++ compiler")
    choice: Any = "kernel" if kernel else encoding
    precision: Any = "int8" if encoding == "int8" else "fp32"
    encode_model(case.file, target, encoding=choice, precision=precision, metadata={})
    check_file(target)


def check(case: Case, target: Path, encoding: str) -> None:
    """Encode, and compare logits, zeros and names with torch's."""
    encode(case, target, encoding)
    verify_logits(target, case.batches, tolerance=0.05 if encoding == "int8" else 1e-5)
    zeros, names = zeros_by_tensor(target), [record.name for record in inspect_model(target).tensors]
    assert len(names) == len(set(names))
    for name, weight in prunable_weights(case.model).items():
        assert zeros[name][1] == weight.numel()
        assert encoding == "int8" or zeros[name][0] == int((weight == 0).sum())
    assert len(linear_layers(target)) > 6
    row = find_architecture(case.model.config.model_type)
    if encoding in ("kernel", "int8") and row is not None:
        rounded = "Int8" if encoding == "int8" and not row.written_out else ""
        names = [node.op_type for node in onnx.load(target).graph.node if node.op_type in ATTENTION]
        assert len(names) == (2 if row.packed_attention else 0), "as the row says"
        # That of a window of neighbours stays in fp32.
        assert {*names} <= {f"PackedAttention{rounded}", "PackedAttention", "PackedDisentangledAttention"}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_file_gives_torchs_logits_and_holds_every_weight(case: Case, encoding: str, tmp_path: Path) -> None:
    check(case, tmp_path / "m.onnx", encoding)


def test_shared_weights_are_stored_once(case: Case, tmp_path: Path) -> None:
    encode(case, tmp_path / "m.onnx", "kernel")
    graph = onnx.load(tmp_path / "m.onnx").graph
    values = [node.input[1] for node in graph.node if node.op_type == "SparseLinear"]
    # What DeBERTa's layers make of distances is computed when the file is made.
    shared = case.model.config.model_type != "deberta-v2"
    assert (len(set(values)) < len(values)) is shared
    initializers = [tensor.name for tensor in graph.initializer]
    assert len(initializers) == len(set(initializers))


def test_rotary_positions_at_opset_23(tmp_path: Path) -> None:
    """The exporter's RotaryEmbedding took one row at a time."""
    case = make_case("modernbert", tmp_path, opset=23)
    assert "RotaryEmbedding" in {node.op_type for node in onnx.load(case.file).graph.node}
    for encoding in ENCODINGS:
        check(case, tmp_path / f"{encoding}.onnx", encoding)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*SLOW, "tied layers", "tied but biases"])
def test_every_kind_gives_torchs_logits_in_every_encoding(kind: str, tmp_path: Path) -> None:
    case = make_case(kind, tmp_path)
    for encoding in ENCODINGS:
        check(case, tmp_path / f"{encoding}.onnx", encoding)
