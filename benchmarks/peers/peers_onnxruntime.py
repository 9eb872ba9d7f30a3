"""Make onnxruntime's dynamic int8 file of a dense ONNX file: the peer of peers.py and of studies/picture.py.

python benchmarks/peers/peers_onnxruntime.py SOURCE TARGET
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic


def quantize(source: Path, target: Path) -> None:
    """Quantize the weights of a file, and its activations while it runs.

    By default the quantizer would also take the standard Attention operator for its own, and break it.

    What onnxruntime.transformers.optimizer makes of the legacy export, quantized alike, took as long: 22.0 against 22.1
    ms for 128 tokens on 2 cores of an EPYC with AVX-512. Its fp32 took 1.06 times as long.
    """
    operators = ["MatMul", "Gemm", "Gather"]
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, op_types_to_quantize=operators)


if __name__ == "__main__":
    quantize(Path(sys.argv[1]), Path(sys.argv[2]))
