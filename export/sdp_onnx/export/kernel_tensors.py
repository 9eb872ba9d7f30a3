"""The initializers of the library's linear operators, made from the weights of the layers that each replaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sdp_onnx.export.kernel_choice import GROUP, LayerKind
from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.operators.sparse_format import pack_sparse

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class NewTensor:
    """An initializer to add; its content is made when it is written."""

    name: str
    data_type: int
    shape: tuple[int, ...]
    load: Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class LayerTensors:
    """The weights of one linear operator.

    Attributes:
        tensors: the operator's inputs after the first, up to the bias, in order.
        settings: the attributes that belong to them.
        contained: for each parameter, the bytes that it takes in them.
    """

    tensors: list[NewTensor]
    contained: dict[str, int]
    settings: dict[str, int] = field(default_factory=dict)


def new_tensor(name: str, array: NDArray[Any]) -> NewTensor:
    """An initializer whose content is there already."""
    return NewTensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, lambda: array)


def layer_tensors(name: str, weights: Sequence[StoredTensor], kind: LayerKind) -> LayerTensors:
    """Lay out float32 weights [in_features, out_features each], stacked along out_features, for a kind of product.

    Args:
        name: how the names of the new initializers begin.
    """

    def stacked() -> NDArray[Any]:
        """[out_features, in_features]"""
        return np.ascontiguousarray(np.concatenate([weight.array().T for weight in weights]))

    if kind == "dense":
        in_features, out_features = weights[0].shape[0], sum(weight.shape[1] for weight in weights)
        shape = (out_features // GROUP, in_features, GROUP)
        # Made when it is written: dense weights may be most of the model.
        grouped = NewTensor(f"{name}/grouped", TensorProto.FLOAT, shape, lambda: _in_groups(stacked())[..., 0])
        return LayerTensors([grouped], {weight.name: 4 * weight.elements for weight in weights})
    if kind == "dense-int8":
        rounded, scale = round_rows(stacked())
        tensors = [new_tensor(f"{name}/grouped", _in_groups(rounded, 4)), new_tensor(f"{name}/scale", scale)]
        return LayerTensors(tensors, {weight.name: weight.elements + 4 * weight.shape[1] for weight in weights})
    return _sparse(name, weights, stacked(), int8=kind == "sparse-int8")


def _sparse(name: str, weights: Sequence[StoredTensor], stacked: NDArray[Any], *, int8: bool) -> LayerTensors:
    scales = []
    if int8:
        stacked, scale = round_rows(stacked)
        scales = [new_tensor(f"{name}/scale", scale)]
    packed = pack_sparse(stacked)
    size = packed.nbytes + 4 * len(stacked) * len(scales)
    nonzeros = [weight.nonzeros() for weight in weights]
    return LayerTensors(
        [
            new_tensor(f"{name}/values", packed.values),
            new_tensor(f"{name}/columns", packed.columns),
            new_tensor(f"{name}/rows", packed.rows),
            new_tensor(f"{name}/widths", packed.widths),
            *scales,
        ],
        {w.name: size * count // max(1, sum(nonzeros)) for w, count in zip(weights, nonzeros, strict=True)},
        {"slice": packed.slice, "block": packed.block},
    )


def round_rows(weight: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a float matrix [rows, columns] to int8, symmetrically, with one scale for each row.

    Returns:
        int8 [rows, columns] in [-127, 127] and float32 [rows]; their product differs from the weight by at most half a
        scale. A row of zeros has scale 1.
    """
    values, scale = np.empty(weight.shape, np.int8), np.empty(len(weight), np.float32)
    # A table of pieces may be most of the model: no second one of floats beside it.
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        rows = weight[start : start + _ROWS_AT_ONCE]
        largest = np.abs(rows).max(axis=1, initial=0.0)
        own = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
        values[start : start + len(rows)] = np.rint(rows / own[:, None]).clip(-127, 127)
        scale[start : start + len(rows)] = own
    return values, scale


def _in_groups(weight: NDArray[Any], together: int = 1) -> NDArray[Any]:
    """[out_features, in_features] as [out_features / 16, in_features / together, 16, together], the packed layout."""
    out_features, in_features = weight.shape
    groups = weight.reshape(out_features // GROUP, GROUP, in_features // together, together)
    return np.ascontiguousarray(groups.transpose(0, 2, 1, 3))
