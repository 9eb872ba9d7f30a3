"""The runtimes that exist, one row each. Verification, evaluation and predictions use the default one, for which models
are shipped; benchmarks may run the dense file in another."""

from __future__ import annotations

from sdp_onnx.runtimes.base import Runtime, RuntimeName
from sdp_onnx.runtimes.onnxruntime import OnnxRuntime
from sdp_onnx.runtimes.openvino import OpenVinoRuntime

RUNTIMES: dict[RuntimeName, Runtime] = {"onnxruntime": OnnxRuntime(), "openvino": OpenVinoRuntime()}

DEFAULT: RuntimeName = "onnxruntime"


def default_runtime() -> Runtime:
    """The runtime that models are shipped for."""
    return RUNTIMES[DEFAULT]
