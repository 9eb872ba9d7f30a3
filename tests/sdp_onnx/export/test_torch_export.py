from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from sdp_onnx.deploy.verify import verify_logits
from sdp_onnx.errors import ExportError
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.model.inspect import inspect_model
from sdp_onnx.model.model_file import check_file
from support.tiny_models import tiny_model

SHAPES = [(rows, tokens) for rows in (1, 3) for tokens in range(1, 41)]


@pytest.mark.parametrize("name", ["bert", "xlmr"])
@pytest.mark.parametrize("encoding", ["dense", "auto"])
def test_the_file_gives_torchs_logits(
    name: str,
    encoding: Any,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_batch: Callable[..., Any],
    run_torch: Callable[..., Any],
    input_names: dict[str, tuple[str, ...]],
) -> None:
    model, source = request.getfixturevalue(name), request.getfixturevalue(f"{name}_file")
    encode_model(source, tmp_path / "m.onnx", encoding=encoding, metadata={})
    batches = []
    for rows, tokens in SHAPES:
        feed = make_batch(input_names[name], rows, tokens, seed=tokens)
        batches.append((feed, run_torch(model, feed)))
    agreement = verify_logits(tmp_path / "m.onnx", batches, tolerance=1e-5)
    assert (agreement.batches, agreement.rows) == (80, 160)


def test_large_weights_that_layers_share_run_in_the_library(tmp_path: Path) -> None:
    # The exporter folds a transpose of more than 8,192 elements where it alone reads the weight.
    model = tiny_model("albert", sparsity=0.9, hidden_size=128, intermediate_size=256)
    export_torch(model, tmp_path / "m.onnx", input_names=("input_ids", "attention_mask"))
    stored = {one.name: one for one in onnx.load(tmp_path / "m.onnx").graph.initializer}
    weight = next(name for name in stored if name.endswith("attention.query.weight"))
    assert stored[weight].dims == [128, 128]
    encode_model(tmp_path / "m.onnx", tmp_path / "e.onnx", encoding="kernel", metadata={})
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "e.onnx").graph.node)
    # Queries, keys and values in one, and three more, in each of two layers.
    assert (operators["SparseLinear"], operators["PackedAttention"]) == (8, 2)


@pytest.mark.parametrize("name", ["bert", "xlmr"])
def test_every_matrix_bears_its_parameters_name(name: str, request: pytest.FixtureRequest) -> None:
    model, path = request.getfixturevalue(name), request.getfixturevalue(f"{name}_file")
    parameters = {key: value.detach().numpy() for key, value in model.named_parameters()}
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    assert parameters.keys() <= stored.keys()
    for key, parameter in parameters.items():
        # The encoder's own linears are the ones that the exporter transposes.
        transposed = ".layer." in key and key.endswith("dense.weight")
        assert np.array_equal(stored[key], parameter.T) or (np.array_equal(stored[key], parameter) and not transposed)


def test_the_interface_of_the_file(bert_file: Path, xlmr_file: Path) -> None:
    check_file(bert_file)
    summary = inspect_model(bert_file)
    assert [(value.name, value.dtype, value.shape) for value in summary.inputs] == [
        (name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert [(value.name, value.shape) for value in summary.outputs] == [("logits", ("batch", 3))]
    assert summary.opset == {"ai.onnx": 23}
    assert summary.operators["Attention"] == 2
    assert [value.name for value in inspect_model(xlmr_file).inputs] == ["input_ids", "attention_mask"]


def test_the_exporters_notes_are_gone(bert_file: Path) -> None:
    assert b"pkg.torch" not in bert_file.read_bytes()


def test_the_mode_and_silence_are_kept(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    model = DistilBertForSequenceClassification(
        DistilBertConfig(dim=32, n_layers=1, n_heads=4, hidden_dim=64, vocab_size=120, max_position_embeddings=64)
    )
    model.train()
    model.dropout.eval()
    capfd.readouterr()
    with caplog.at_level(logging.WARNING):
        # The tokenizer gives token_type_ids; this model takes none.
        export_torch(model, tmp_path / "m.onnx", input_names=["input_ids", "token_type_ids", "attention_mask"])
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert not caplog.records
    assert not [warning for warning in recwarn if "onnx" in str(warning.filename)]
    assert model.training
    assert not model.dropout.training
    assert [value.name for value in inspect_model(tmp_path / "m.onnx").inputs] == ["input_ids", "attention_mask"]


def test_external_data(bert: torch.nn.Module, bert_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    export_torch(bert, target, input_names=["input_ids", "attention_mask"], external_data_threshold=10_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    check_file(target)
    inside = {t.name: t.zeros for t in inspect_model(bert_file).tensors if t.name.endswith("weight")}
    assert {t.name: t.zeros for t in inspect_model(target).tensors if t.name.endswith("weight")} == inside


def test_a_model_without_input_ids_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="input_ids"):
        export_torch(torch.nn.Linear(2, 2), tmp_path / "m.onnx", input_names=["input_ids"])


def test_code_that_onnx_cannot_express_is_an_export_error(tmp_path: Path) -> None:
    class Branching(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return input_ids + 1 if input_ids.sum() > 3 else input_ids

    with pytest.raises(ExportError, match="cannot export") as caught:
        export_torch(Branching(), tmp_path / "m.onnx", input_names=["input_ids"])
    assert caught.value.where == "Branching"
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_more_outputs_than_logits_are_refused(tmp_path: Path) -> None:
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, vocab_size=120
    )
    config.output_hidden_states = True
    with pytest.raises(ExportError, match="outputs") as caught:
        export_torch(BertForSequenceClassification(config), tmp_path / "m.onnx", input_names=["input_ids"])
    assert "output_hidden_states" in caught.value.hint
