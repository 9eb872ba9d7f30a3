"""The runtimes that exist, one row each. Benchmarks, verification, evaluation and predictions use the default one."""

from __future__ import annotations

from sdp_onnx.runtimes.base import Runtime
from sdp_onnx.runtimes.onnxruntime import OnnxRuntime

RUNTIMES: dict[str, Runtime] = {"onnxruntime": OnnxRuntime()}

DEFAULT = "onnxruntime"


def default_runtime() -> Runtime:
    """The runtime that models are shipped for."""
    return RUNTIMES[DEFAULT]
