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

from sdp_onnx.errors import VerificationError
from sdp_onnx.verify import relative_error, verify_logits


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


def test_nothing_compared_is_no_agreement(bert_file: Path) -> None:
    with pytest.raises(VerificationError, match="no batch"):
        verify_logits(bert_file, [], tolerance=1.0)
