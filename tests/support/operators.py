"""One-operator models of domain `sdp`, run by onnxruntime."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sdp_onnx.operators.library import DOMAIN, KERNELS, OPSET
from sdp_onnx.operators.sparse_format import SparseWeight
from sdp_onnx.operators.table import OPERATORS
from sdp_onnx.runtimes.onnxruntime import register_operators

Arrays = Mapping[str, NDArray[Any]]

# Those that this kind of CPU may have, each with kernels of its own.
INSTRUCTION_SETS = [
    name for name in KERNELS if name == "scalar" or name.startswith("neon") == (platform.machine() == "aarch64")
]


# The features that each of them needs, as Linux names them.
_AVX2 = {"avx2", "fma"}
_AVX512 = {*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl"}
_FEATURES = {
    "avx512vnni": {*_AVX512, "avx512_vnni"},
    "avxvnni": {*_AVX2, "avx_vnni"},
    "avx512": _AVX512,
    "avx2": _AVX2,
    "scalar": set[str](),
}


def best_kernels() -> str | None:
    """The best kernels that this CPU has, by what the operating system reports; None where that is not known."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        return None
    flags = set(cpuinfo.read_text(encoding="utf-8").split())
    return next(name for name in KERNELS if name in _FEATURES and flags >= _FEATURES[name])


def node(op_type: str, inputs: Sequence[str], output: str, **settings: Any) -> NodeProto:
    return helper.make_node(op_type, inputs, [output], domain=DOMAIN, **settings)


def linear_inputs(op_type: str, **values: str) -> list[str]:
    """A linear operator's inputs: weights and bias under the names of its row, the others as given."""
    row = OPERATORS[op_type]
    return row.arrange({name: name for name in (*row.weight_inputs, "bias")} | values)


def session(
    nodes: Sequence[NodeProto], initializers: Arrays, inputs: Arrays, threads: int = 2, library: Path | None = None
) -> ort.InferenceSession:
    """A session that returns the output of the last node; `inputs` give names and types of the feeds."""
    model = helper.make_model(
        helper.make_graph(
            list(nodes),
            "operators",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
                for name, array in inputs.items()
            ],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in initializers.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, OPSET)],
        ir_version=10,
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    register_operators(options, library)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(nodes: Sequence[NodeProto], initializers: Arrays, inputs: Arrays, threads: int = 2) -> NDArray[np.float32]:
    result = session(nodes, initializers, inputs, threads).run(None, dict(inputs))[0]
    assert isinstance(result, np.ndarray)
    return result


def weight_arrays(packed: SparseWeight) -> dict[str, NDArray[Any]]:
    """The initializers of a sparse weight, by the names of its operator's inputs."""
    return {"values": packed.values, "columns": packed.columns, "rows": packed.rows, "widths": packed.widths}


def weight_settings(packed: SparseWeight) -> dict[str, Any]:
    return {
        "in_features": packed.in_features,
        "out_features": packed.out_features,
        "slice": packed.slice,
        "block": packed.block,
    }
