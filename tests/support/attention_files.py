"""Files whose attention is rewritten: batches, differences of logits, and edits of nodes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from sdp_onnx.export.encode import encode_model
from sdp_onnx.runtimes.onnxruntime import create_session

INPUTS = ("input_ids", "attention_mask")


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


def of_type(model: ModelProto, op_type: str, place: int = 0) -> NodeProto:
    return [node for node in model.graph.node if node.op_type == op_type][place]


def number(model: ModelProto, value: Any) -> str:
    """A new initializer."""
    name = f"number/{len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return name
