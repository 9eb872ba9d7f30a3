"""Formats of the weights of linear operators: one for each kind of product, with a writer and a reader.

A format's initializers are the weight inputs of its operators, in the order of their row in `operators.table`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.operators.sparse_format import SparseWeight, pack_sparse, unpack_sparse

LayerKind = Literal["sparse", "dense", "sparse-int8", "dense-int8"]

# Tokens in a group of the packed layout, and rows in a group of a dense weight; see export/native/include/kernels.h.
GROUP = 16

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class NewTensor:
    """An initializer to add; its content is computed when it is written."""

    name: str
    data_type: int
    shape: tuple[int, ...]
    load: Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class LayerTensors:
    """The weight of one linear operator.

    Attributes:
        tensors: the operator's weight inputs, in order.
        settings: the attributes that belong to them.
        contained: for each parameter, the bytes that it takes in them.
    """

    tensors: list[NewTensor]
    contained: dict[str, int]
    settings: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightFormat:
    """The weight of a linear operator.

    Attributes:
        kind: the product that multiplies by it.
        write: creates the initializers with these names from float32 weights [in_features, out_features each], stacked
            along out_features.
        read: returns float32 [out_features, in_features] from the initializers' arrays and the node's attributes.
            Raises any exception for inconsistent arrays and attributes.
    """

    kind: LayerKind
    write: Callable[[Sequence[str], Sequence[StoredTensor]], LayerTensors]
    # The attributes of a node have any of onnx's types.
    read: Callable[[Sequence[NDArray[Any]], Mapping[str, Any]], NDArray[Any]]


def new_tensor(name: str, array: NDArray[Any]) -> NewTensor:
    """Return an initializer with an array in memory as content."""
    return NewTensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, lambda: array)


def round_rows(weight: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a float matrix [rows, columns] to int8, symmetrically, with one scale for each row.

    Returns:
        int8 [rows, columns] in [-127, 127] and float32 [rows]; their product differs from the weight by at most half a
        scale. A row of zeros has scale 1.
    """
    values, scale = np.empty(weight.shape, np.int8), np.empty(len(weight), np.float32)
    # A table of pieces may be most of the model, so no second copy in floats is made.
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        rows = weight[start : start + _ROWS_AT_ONCE]
        largest = np.abs(rows).max(axis=1, initial=0.0)
        own = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
        values[start : start + len(rows)] = np.rint(rows / own[:, None]).clip(-127, 127)
        scale[start : start + len(rows)] = own
    return values, scale


def _stacked(weights: Sequence[StoredTensor]) -> NDArray[Any]:
    """[out_features, in_features]"""
    return np.ascontiguousarray(np.concatenate([weight.array().T for weight in weights]))


def _in_groups(weight: NDArray[Any], together: int = 1) -> NDArray[Any]:
    """[out_features, in_features] as [out_features / 16, in_features / together, 16, together], the packed layout."""
    out_features, in_features = weight.shape
    groups = weight.reshape(out_features // GROUP, GROUP, in_features // together, together)
    return np.ascontiguousarray(groups.transpose(0, 2, 1, 3))


def _write_dense(names: Sequence[str], weights: Sequence[StoredTensor]) -> LayerTensors:
    in_features, out_features = weights[0].shape[0], sum(weight.shape[1] for weight in weights)
    shape = (out_features // GROUP, in_features, GROUP)
    # Computed when it is written: dense weights may be most of the model.
    (name,) = names
    grouped = NewTensor(name, TensorProto.FLOAT, shape, lambda: _in_groups(_stacked(weights))[..., 0])
    return LayerTensors([grouped], {weight.name: 4 * weight.elements for weight in weights})


def _read_dense(arrays: Sequence[NDArray[Any]], settings: Mapping[str, Any]) -> NDArray[Any]:
    (grouped,) = arrays
    return grouped.transpose(0, 2, 1).reshape(settings["out_features"], settings["in_features"])


def _write_dense_int8(names: Sequence[str], weights: Sequence[StoredTensor]) -> LayerTensors:
    rounded, scale = round_rows(_stacked(weights))
    arrays = (_in_groups(rounded, 4), scale)
    tensors = [new_tensor(name, array) for name, array in zip(names, arrays, strict=True)]
    return LayerTensors(tensors, {weight.name: weight.elements + 4 * weight.shape[1] for weight in weights})


def _read_dense_int8(arrays: Sequence[NDArray[Any]], settings: Mapping[str, Any]) -> NDArray[Any]:
    grouped, scale = arrays
    weight = grouped.transpose(0, 2, 1, 3).reshape(settings["out_features"], settings["in_features"])
    return np.asarray(weight * scale[:, None])


def _write_sparse(names: Sequence[str], weights: Sequence[StoredTensor]) -> LayerTensors:
    return _sparse_tensors(names, weights, _stacked(weights))


def _write_sparse_int8(names: Sequence[str], weights: Sequence[StoredTensor]) -> LayerTensors:
    rounded, scale = round_rows(_stacked(weights))
    return _sparse_tensors(names, weights, rounded, scale)


def _sparse_tensors(
    names: Sequence[str], weights: Sequence[StoredTensor], stacked: NDArray[Any], *scale: NDArray[np.float32]
) -> LayerTensors:
    packed = pack_sparse(stacked)
    arrays = (packed.values, packed.columns, packed.rows, packed.widths, *scale)
    size = sum(array.nbytes for array in arrays)
    nonzeros = [weight.nonzeros() for weight in weights]
    return LayerTensors(
        [new_tensor(name, array) for name, array in zip(names, arrays, strict=True)],
        {w.name: size * count // max(1, sum(nonzeros)) for w, count in zip(weights, nonzeros, strict=True)},
        {"slice": packed.slice, "block": packed.block},
    )


def _read_sparse(arrays: Sequence[NDArray[Any]], settings: Mapping[str, Any]) -> NDArray[Any]:
    values, columns, rows, widths = arrays
    return unpack_sparse(
        SparseWeight(
            settings["out_features"],
            settings["in_features"],
            settings["slice"],
            settings["block"],
            values,
            columns,
            rows,
            widths,
        )
    )


def _read_sparse_int8(arrays: Sequence[NDArray[Any]], settings: Mapping[str, Any]) -> NDArray[Any]:
    *weight, scale = arrays
    return np.asarray(_read_sparse(weight, settings) * scale[:, None])


SPARSE = WeightFormat("sparse", _write_sparse, _read_sparse)
SPARSE_INT8 = WeightFormat("sparse-int8", _write_sparse_int8, _read_sparse_int8)
DENSE = WeightFormat("dense", _write_dense, _read_dense)
DENSE_INT8 = WeightFormat("dense-int8", _write_dense_int8, _read_dense_int8)
