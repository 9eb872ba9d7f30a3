"""The operators of the library, one row each: the Python twin of export/native/include/operators.def.

The exporter orders a node's inputs by its row and names the initializers of a weight after them; `inspect`, `verify`
and the profile find an operator's weight and the part of its time here. A new operator takes a row here, a row in
operators.def and its C++ file; a test compares the two tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onnx import NodeProto

from sdp_onnx.operators.library import DOMAIN
from sdp_onnx.operators.weight_formats import DENSE, DENSE_INT8, SPARSE, SPARSE_INT8, LayerKind, WeightFormat

Part = Literal["sparse", "dense", "sparse-int8", "dense-int8", "attention", "rest"]
Role = Literal["required", "weight", "optional", "apart"]


@dataclass(frozen=True)
class Input:
    """An input of an operator.

    Attributes:
        dtype: numpy's name of the element type.
        role: "weight" is an initializer that holds the layer's weight or a part of it; an "optional" input may be left
            out, together with all optional ones that follow; one "apart" whatever others there are.
    """

    name: str
    dtype: str = "float32"
    role: Role = "required"


@dataclass(frozen=True)
class Operator:
    """One row.

    Attributes:
        name: the `op_type` of its nodes.
        part: where a profile counts its time.
        inputs: in order.
        weight: for a linear layer, the format of its weight inputs; None for other operators.
    """

    name: str
    part: Part
    inputs: tuple[Input, ...]
    weight: WeightFormat | None = None

    @property
    def weight_inputs(self) -> tuple[str, ...]:
        """The names of the inputs that hold the weight, in order."""
        return tuple(value.name for value in self.inputs if value.role == "weight")

    def weight_initializers(self, node: NodeProto) -> list[str]:
        """The initializers that hold a node's weight, in order.

        Raises:
            IndexError: the node has fewer inputs.
        """
        return [node.input[i] for i, value in enumerate(self.inputs) if value.role == "weight"]

    def arrange(self, values: Mapping[str, str]) -> list[str]:
        """A node's inputs in order, from the names of their values by the names of the inputs.

        Returns:
            the values up to the last one that is given; "" stands for one that is left out.

        Raises:
            ValueError: a required input is missing, an optional one before a given one, or a name is unknown.
        """
        names = [value.name for value in self.inputs]
        together = [value.name for value in self.inputs if value.role != "apart"]
        required = {value.name for value in self.inputs if value.role in ("required", "weight")}
        given = [name for name in together if name in values]
        if not required <= set(values) <= set(names) or given != together[: len(given)]:
            raise ValueError(f"{self.name} takes {', '.join(names)}, not {', '.join(values)}")
        last = max(names.index(name) for name in values)
        return [values.get(name, "") for name in names[: last + 1]]


_X = Input("x")
_SPARSE_INDICES = (
    Input("columns", "uint8", "weight"),
    Input("rows", "uint8", "weight"),
    Input("widths", "uint16", "weight"),
)
_SCALE = Input("scale", role="weight")
_EPILOGUE = (
    Input("bias"),
    Input("residual", role="optional"),
    Input("gamma", role="optional"),
    Input("beta", role="optional"),
)
_ATTENTION = (
    Input("q"),
    Input("k"),
    Input("v"),
    Input("tokens", "int64"),
    Input("mask", "bool", "optional"),
    Input("bias", role="apart"),
)

_NORM = (Input("gamma"), Input("beta"))

_ROWS = (
    Operator("Pack", "rest", (_X, Input("kept", "int64", "optional"))),
    Operator(
        "PackedEmbedding",
        "rest",
        (
            Input("kept", "int64"),
            Input("words", "int64"),
            Input("word_table"),
            *_NORM,
            Input("positions", "int64", "optional"),
            Input("position_table", role="optional"),
            Input("types", "int64", "optional"),
            Input("type_table", role="optional"),
        ),
    ),
    Operator(
        "PackedEmbeddingInt8",
        "rest",
        (
            Input("kept", "int64"),
            Input("words", "int64"),
            Input("word_table", "int8"),
            Input("word_scale"),
            *_NORM,
            Input("positions", "int64", "optional"),
            Input("position_table", "int8", "optional"),
            Input("position_scale", role="optional"),
            Input("types", "int64", "optional"),
            Input("type_table", role="optional"),
        ),
    ),
    Operator("Unpack", "rest", (_X, Input("tokens", "int64"))),
    Operator("FirstTokens", "rest", (_X, Input("tokens", "int64"))),
    Operator("SparseLinear", "sparse", (_X, Input("values", role="weight"), *_SPARSE_INDICES, *_EPILOGUE), SPARSE),
    Operator(
        "SparseLinearInt8",
        "sparse-int8",
        (_X, Input("values", "int8", "weight"), *_SPARSE_INDICES, _SCALE, *_EPILOGUE),
        SPARSE_INT8,
    ),
    Operator("DenseLinear", "dense", (_X, Input("grouped", role="weight"), *_EPILOGUE), DENSE),
    Operator("DenseLinearInt8", "dense-int8", (_X, Input("grouped", "int8", "weight"), _SCALE, *_EPILOGUE), DENSE_INT8),
    Operator("PackedAdd", "rest", (_X, Input("y"))),
    Operator("PackedNorm", "rest", (_X, Input("gamma"), Input("beta", role="optional"))),
    Operator("PackedGate", "rest", (_X,)),
    Operator("PackedRotary", "attention", (_X, Input("tokens", "int64"), Input("cos"), Input("sin"))),
    Operator("PackedAttention", "attention", _ATTENTION),
    Operator(
        "PackedDisentangledAttention",
        "attention",
        (
            *_ATTENTION[:4],
            *(Input("key_places", "int64"), Input("query_places", "int64")),
            *(Input("position_keys"), Input("position_queries")),
        ),
    ),
    Operator("PackedAttentionInt8", "attention", _ATTENTION),
)

OPERATORS = {row.name: row for row in _ROWS}


def operator_of(node: NodeProto) -> Operator | None:
    """Return the row of a node's operator; None for an operator of another domain or unknown to the library."""
    return OPERATORS.get(node.op_type) if node.domain == DOMAIN else None


def linear_operator(kind: LayerKind) -> Operator:
    """Return the operator that multiplies by a weight of a kind."""
    return next(row for row in OPERATORS.values() if row.weight is not None and row.weight.kind == kind)
