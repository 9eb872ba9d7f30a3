"""Files in half precision: half of the bytes, logits in fp32, and near those of the network in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from sdp.models.architectures import ARCHITECTURES
from sdp_onnx.deploy.verify import verify_logits
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import DOMAIN
from support.tiny_models import tiny_model

IDS = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(9) < torch.tensor([[9], [5], [1]])).long()
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
# Each takes seconds.
QUICK = ("bert", "modernbert")
KINDS = [row.model_type for row in ARCHITECTURES if not row.refused]


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
@torch.no_grad()
def test_a_network_in_half_precision_becomes_a_file_in_half_precision(kind: str, tmp_path: Path) -> None:
    model, path = tiny_model(kind), tmp_path / "model.onnx"
    expected = model(**TOKENS).logits.numpy()
    export_torch(model.half(), path, input_names=tuple(TOKENS))
    file = onnx.load(path)
    assert file.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    types = {tensor.data_type for tensor in file.graph.initializer if len(tensor.dims) == 2}
    assert types - {TensorProto.INT64} == {TensorProto.FLOAT16}
    # Half precision has 11 bits: one rounding is off by 0.0005 at most.
    verify_logits(path, [({name: own.numpy() for name, own in TOKENS.items()}, expected)], tolerance=5e-3)


@pytest.mark.parametrize("encoding", ["dense", "auto"])
@torch.no_grad()
def test_its_weights_are_encoded_as_they_are(encoding: str, tmp_path: Path) -> None:
    model = tiny_model("bert", sparsity=0.9, hidden_size=64, intermediate_size=128)
    export_torch(model.half(), tmp_path / "dense.onnx", input_names=tuple(TOKENS))
    records = encode_model(tmp_path / "dense.onnx", tmp_path / "model.onnx", encoding=encoding, metadata={})  # type: ignore[arg-type]
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    (record,) = [own for own in records if own.name == name]
    # Two bytes a number; coordinates take eight more for each that is left.
    kept = record.elements - record.zeros
    assert (record.dtype, record.encoding) == ("float16", "dense" if encoding == "dense" else "coo")
    assert record.bytes == (2 * record.elements if encoding == "dense" else 10 * kept)
    file = onnx.load(tmp_path / "model.onnx")
    assert all(node.domain != DOMAIN for node in file.graph.node)
    if encoding == "dense":
        (stored,) = [tensor for tensor in file.graph.initializer if tensor.name == name]
        weight = dict(model.named_parameters())[name].detach().numpy()
        np.testing.assert_array_equal(numpy_helper.to_array(stored), weight.T)
