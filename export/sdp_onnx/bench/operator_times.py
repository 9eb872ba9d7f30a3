"""Time the library's products by shape and share of zeros, in a graph of nothing else.

A layer's weights are not in the caches when a model comes to it: the graph holds as many copies of a product as the
model has, each with weights of its own in memory. Every copy adds the result of the one before and normalizes, as the
last products of an encoder layer do, so that they run one after the other; that is a constant beside what zeros save.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sdp_onnx.bench.worker import run_turn
from sdp_onnx.export.kernel_choice import Precision, layer_kind
from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.model.opset import declare_lowest
from sdp_onnx.operators.library import DOMAIN, OPSET
from sdp_onnx.operators.table import OPERATORS, Operator, linear_operator
from sdp_onnx.operators.weight_formats import LayerKind, LayerTensors
from sdp_onnx.runtimes.registry import default_runtime

MOST_COPIES = 12
SECONDS = 0.1
"""Least time of the runs of one graph, after a warm-up; there are at least so many:"""
FEWEST_RUNS = 7
_IR_VERSION = 10


@dataclass(frozen=True)
class Product:
    """What is timed.

    Attributes:
        in_features, out_features: of the layer.
        block: consecutive inputs that are zeros together, 1 or 4.
        precision: of the product.
    """

    in_features: int
    out_features: int
    block: int
    precision: Precision

    def weight(self, density: float) -> StoredTensor:
        """Return a weight with this share of nonzeros at random places, [in_features, out_features]."""
        generator = np.random.default_rng(0)
        places = generator.permutation(self.in_features // self.block * self.out_features)
        kept = np.zeros(places.size, dtype=bool)
        kept[places[: round(density * places.size)]] = True
        mask = kept.reshape(-1, self.out_features).repeat(self.block, axis=0)
        values = generator.standard_normal(mask.shape, dtype=np.float32)
        return StoredTensor(numpy_helper.from_array(values * mask, "weight"), "")

    def kind(self, density: float) -> LayerKind | None:
        """The product that the exporter chooses for it; None for onnxruntime's own."""
        return layer_kind(self.weight(density), self.precision)


def product_seconds(product: Product, density: float, tokens: tuple[int, int], copies: int, threads: int) -> float:
    """Time one product.

    Args:
        product: what to multiply.
        density: share of nonzero weights.
        tokens: rows in a call, and tokens in a row.
        copies: products in a run, each with weights of its own; at most 12 count.
        threads: threads of an operator.

    Returns:
        the fastest run, by copies: other processes only make runs slower.

    Raises:
        ValueError: the library has no product for this layer.
        OperatorLibraryError: there is no library.
    """
    weight = product.weight(density)
    kind = layer_kind(weight, product.precision)
    if kind is None:
        raise ValueError(f"no product of the library multiplies {weight.shape}")
    copies = min(copies, MOST_COPIES)
    operator = linear_operator(kind)
    assert operator.weight is not None
    made = operator.weight.write(operator.weight_inputs, [weight])
    inputs: dict[str, Any] = {
        "x": np.random.default_rng(1).standard_normal((*tokens, product.in_features), dtype=np.float32)
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "product.onnx")
        onnx.save(_graph(product, operator, made, copies), path)
        model = default_runtime().load(path, threads=threads, idle_between_runs=True)
        # As many runs as the time allows, from what the first ones take.
        runs = [partial(model.run, inputs)]
        taken = run_turn(runs, 0, FEWEST_RUNS)
        more = int(SECONDS / max(statistics.median(taken), 1e-6)) - FEWEST_RUNS
        taken += run_turn(runs, 0, more) if more > 0 else []
    return min(taken) / copies


def _graph(product: Product, operator: Operator, made: LayerTensors, copies: int) -> onnx.ModelProto:
    """Pack, the products one after the other, unpack."""
    nodes = [
        helper.make_node("Shape", ["x"], ["tokens"], start=-2, end=-1),
        _node("Pack", ["x"], "packed"),
    ]
    arrays: dict[str, NDArray[Any]] = {
        name: np.full(product.out_features, value, np.float32)
        for name, value in (("bias", 0), ("gamma", 1), ("beta", 0))
    }
    for copy in range(copies):
        arrays |= {f"{tensor.name}{copy}": tensor.load() for tensor in made.tensors}
        nodes.append(_linear(product, operator, made, copy))
    nodes.append(_node("Unpack", [f"y{copies - 1}", "tokens"], "out"))
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 3)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, OPSET)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)
    declare_lowest(model)
    return model


def _linear(product: Product, operator: Operator, made: LayerTensors, copy: int) -> NodeProto:
    values = {"x": "packed", "bias": "bias"}
    values |= {holder: f"{holder}{copy}" for holder in operator.weight_inputs}
    settings: dict[str, Any] = {"activation": "none", "weights": ["weight"], "widths": [product.out_features]}
    if copy:
        values |= {"residual": f"y{copy - 1}", "gamma": "gamma", "beta": "beta"}
        settings["epsilon"] = 1e-5
    settings |= {"in_features": product.in_features, "out_features": product.out_features, **made.settings}
    return _node(operator.name, operator.arrange(values), f"y{copy}", **settings)


def _node(name: str, inputs: Sequence[str], output: str, **settings: Any) -> NodeProto:
    return helper.make_node(OPERATORS[name].name, list(inputs), [output], domain=DOMAIN, **settings)
