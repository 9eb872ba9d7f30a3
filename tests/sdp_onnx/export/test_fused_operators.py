"""Operators of opset 23 whose inputs onnxruntime does not broadcast, in graphs of one node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from sdp_onnx.export.torch_export import repeat_inputs

HEADS = ("batch", 2, "sequence", 8)


def one_node(op_type: str, shapes: dict[str, tuple[Any, ...]], **settings: Any) -> ModelProto:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, HEADS)
    node = helper.make_node(op_type, list(shapes), ["out"], **settings)
    graph = helper.make_graph([node], "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def run(model: ModelProto, feed: dict[str, NDArray[Any]]) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feed)[0]


def random(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def test_one_mask_for_all_queries() -> None:
    heads = dict.fromkeys(("q", "k", "v"), HEADS)
    model = one_node("Attention", {**heads, "mask": ("batch", 1, 1, "sequence")})
    feed = {**{name: random(3, 2, 5, 8) + index for index, name in enumerate(heads)}, "mask": random(3, 1, 1, 5)}
    with pytest.raises(Exception, match="inconsistent q_sequence_length"):
        run(model, feed)
    repeat_inputs(model.graph)
    q, k, v = (feed[name] for name in heads)
    scores = np.exp(q @ k.transpose(0, 1, 3, 2) / np.sqrt(8) + feed["mask"])
    np.testing.assert_allclose(run(model, feed), scores / scores.sum(-1, keepdims=True) @ v, rtol=1e-4, atol=1e-5)


def test_one_row_of_angles_for_the_whole_batch() -> None:
    angles = (1, "sequence", 4)
    model = one_node("RotaryEmbedding", {"x": HEADS, "cos": angles, "sin": angles}, interleaved=0, num_heads=2)
    turns = random(1, 5, 4)
    feed = {"x": random(3, 2, 5, 8), "cos": np.cos(turns), "sin": np.sin(turns)}
    with pytest.raises(Exception, match="cos_cache"):
        run(model, feed)
    repeat_inputs(model.graph)
    first, second = feed["x"][..., :4], feed["x"][..., 4:]
    cos, sin = feed["cos"], feed["sin"]
    expected = np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)
    np.testing.assert_allclose(run(model, feed), expected, rtol=1e-5, atol=1e-6)


def test_other_graphs_stay_as_they_are() -> None:
    heads = dict.fromkeys(("q", "k", "v"), HEADS)
    model = one_node("Attention", {**heads, "mask": ("batch", 1, "sequence", "sequence")})
    before = model.SerializeToString()
    repeat_inputs(model.graph)
    assert model.SerializeToString() == before
