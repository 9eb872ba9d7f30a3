"""Any number of sessions and threads share the operator library, and none changes another's answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import NodeProto

from sdp_onnx.operators.library import has_library
from sdp_onnx.operators.sparse_format import pack_sparse
from support import operators
from support.operators import linear_inputs, node, weight_arrays, weight_settings

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")

SIZE = 64
RNG = np.random.default_rng(0)
INPUTS = [RNG.standard_normal((1, tokens, SIZE)).astype(np.float32) for tokens in (3, 40, 130, 200)]
Graph = tuple[list[NodeProto], dict[str, NDArray[Any]]]


LOADED = """
import gc, onnxruntime
from pathlib import Path
from sdp_onnx.runtimes.onnxruntime import register_operators
options = onnxruntime.SessionOptions()
register_operators(options)
del options
gc.collect()
print("sdp_operators" in Path("/proc/self/maps").read_text())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_stays_loaded_after_its_last_session() -> None:
    """Threads that end after it would run code of it: what a C++ runtime registers for a thread's end is in there."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def graph(precision: str) -> Graph:
    """One layer: a product for queries, keys and values, and attention."""
    weight = RNG.standard_normal((3 * SIZE, SIZE)) * (RNG.random((3 * SIZE, SIZE)) < 0.2)
    int8 = precision == "int8"
    packed = pack_sparse((weight * 20).astype(np.int8) if int8 else weight.astype(np.float32))
    arrays = weight_arrays(packed) | {"bias": np.zeros(3 * SIZE, np.float32)}
    if int8:
        arrays["scale"] = np.full(3 * SIZE, 0.05, np.float32)
    suffix = "Int8" if int8 else ""
    heads = {"heads": 4, "head_size": 16, "q_first": 0, "k_first": SIZE, "v_first": 2 * SIZE, "scale": 0.25}
    nodes: Sequence[NodeProto] = [
        node("Pack", ["x"], "p"),
        node(
            f"SparseLinear{suffix}",
            linear_inputs(f"SparseLinear{suffix}", x="p"),
            "qkv",
            activation="none",
            **weight_settings(packed),
        ),
        node(f"PackedAttention{suffix}", ["qkv", "qkv", "qkv", "tokens"], "o", **heads),
        node("Unpack", ["o", "tokens"], "y"),
    ]
    return list(nodes), arrays


def session(made: Graph, tokens: int, threads: int) -> ort.InferenceSession:
    nodes, arrays = made
    return operators.session(nodes, arrays | {"tokens": np.array([tokens])}, {"x": INPUTS[0]}, threads)


def test_sessions_and_threads_do_not_disturb_each_other() -> None:
    graphs = [graph("fp32"), graph("int8")]
    cases = [(made, x) for made in graphs for x in INPUTS]
    alone = [session(made, x.shape[1], 1).run(None, {"x": x})[0] for made, x in cases]
    shared = [session(made, x.shape[1], 2) for made, x in cases]

    def work(number: int) -> list[tuple[int, Any, Any]]:
        """Calls on shared sessions, and sessions of its own that come and go meanwhile."""
        found = []
        for turn in range(6):
            at = (number + turn) % len(cases)
            made, x = cases[at]
            own = session(made, x.shape[1], 1 + turn % 2)
            found.append((at, shared[at].run(None, {"x": x})[0], own.run(None, {"x": x})[0]))
        return found

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(16)):
            for at, from_shared, from_own in results:
                np.testing.assert_array_equal(from_shared, alone[at])
                np.testing.assert_array_equal(from_own, alone[at])
