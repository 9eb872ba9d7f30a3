from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertForTokenClassification

from sdp_onnx.deploy.verify import relative_error, verify_logits
from sdp_onnx.errors import VerificationError
from sdp_onnx.export.torch_export import export_torch


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("expected", "actual", "error"),
    [
        (array(1, -4), array(1, -4), 0.0),
        (array(1, -4), array(2, -4), 0.25),
        (array(0, 0), array(0, 0), 0.0),
        (array(0, 0), array(0, 1e-9), math.inf),
        (array(1, 2), array(1, math.nan), math.inf),
        (array(1, math.nan), array(1, math.nan), math.inf),
        (array(1, 2), array(1, math.inf), math.inf),
        (array(1, 2), array(1, 2, 3), math.inf),
        (array(1, 2), array(1, 2).reshape(1, 2), math.inf),
        (array(), array(), 0.0),
    ],
)
def test_relative_error(expected: np.ndarray, actual: np.ndarray, error: float) -> None:
    assert relative_error(expected, actual) == error


@pytest.fixture
def batches(
    bert: torch.nn.Module, make_batch: Callable[..., Any], run_torch: Callable[..., Any], input_names: dict[str, Any]
) -> list[tuple[Any, Any]]:
    feeds = [make_batch(input_names["bert"], rows, tokens) for rows, tokens in ((1, 5), (3, 12), (2, 40))]
    return [(feed, run_torch(bert, feed)) for feed in feeds]


def test_a_faithful_file_passes(bert_file: Path, batches: list[tuple[Any, Any]]) -> None:
    agreement = verify_logits(bert_file, iter(batches), tolerance=1e-5)
    assert (agreement.batches, agreement.rows, agreement.tolerance) == (3, 6, 1e-5)
    assert 0 <= agreement.relative_error <= 1e-5
    assert agreement.worst_shape in {(1, 5), (3, 12), (2, 40)}


def test_one_altered_weight_fails(bert_file: Path, tmp_path: Path, batches: list[tuple[Any, Any]]) -> None:
    model = onnx.load(bert_file)
    (tensor,) = [t for t in model.graph.initializer if t.name == "classifier.bias"]
    altered = numpy_helper.to_array(tensor).copy()
    altered[0] += 0.01
    tensor.CopyFrom(numpy_helper.from_array(altered, tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(VerificationError, match="differ") as caught:
        verify_logits(tmp_path / "m.onnx", batches, tolerance=1e-4)
    assert caught.value.where == str(tmp_path / "m.onnx")


@pytest.mark.parametrize("spoil", [lambda a: a + 1, lambda a: a * np.nan, lambda a: a[:, :2]])
def test_the_worst_batch_is_named(spoil: Callable[[Any], Any], bert_file: Path, batches: list[tuple[Any, Any]]) -> None:
    batches[1] = (batches[1][0], spoil(batches[1][1]))
    with pytest.raises(VerificationError, match=r"\[3, 12\]"):
        verify_logits(bert_file, batches, tolerance=1e-4)


def test_a_row_whose_logits_are_next_to_nothing_is_no_error(bert_file: Path, batches: list[tuple[Any, Any]]) -> None:
    feed, logits = batches[0]
    step = 1e-3 * max(float(np.abs(own).max()) for _, own in batches)
    # As at the border between two classes: what differs is a multiple of the row's own logits.
    batches[0] = (feed, logits + np.float32(step))
    agreement = verify_logits(bert_file, batches, tolerance=2e-3)
    assert agreement.relative_error == pytest.approx(1e-3, rel=0.02)
    assert agreement.worst_shape == (1, 5)


def test_a_file_that_does_not_run_is_no_agreement(bert_file: Path, batches: list[tuple[Any, Any]]) -> None:
    feed, logits = batches[1]
    with pytest.raises(VerificationError, match=r"cannot run the file on a batch of shape \[3, 12\]: .*Invalid input"):
        verify_logits(bert_file, [({**feed, "position_ids": feed["input_ids"]}, logits)], tolerance=1.0)


def test_nothing_compared_is_no_agreement(bert_file: Path) -> None:
    with pytest.raises(VerificationError, match="no batch"):
        verify_logits(bert_file, [], tolerance=1.0)


def test_predictions_on_padding_do_not_count(
    tmp_path: Path, make_batch: Callable[..., Any], run_torch: Callable[..., Any], input_names: dict[str, Any]
) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    tagger = BertForTokenClassification(BertConfig(**sizes, vocab_size=120, num_labels=3)).eval()
    export_torch(tagger, tmp_path / "m.onnx", input_names=input_names["bert"])
    feed = make_batch(input_names["bert"], 3, 12)
    logits, padding = run_torch(tagger, feed), feed["attention_mask"] == 0
    assert logits.shape == (3, 12, 3)
    assert padding.any()
    at_padding = np.where(padding[..., None], logits + 9, logits)
    assert verify_logits(tmp_path / "m.onnx", [(feed, at_padding)], tolerance=1e-5).rows == 3
    at_a_token = logits.copy()
    at_a_token[0, 3, 1] += 0.5
    with pytest.raises(VerificationError, match="differ"):
        verify_logits(tmp_path / "m.onnx", [(feed, at_a_token)], tolerance=1e-3)
    with pytest.raises(VerificationError):
        verify_logits(tmp_path / "m.onnx", [(feed, logits[:, :5])], tolerance=1e-3)
