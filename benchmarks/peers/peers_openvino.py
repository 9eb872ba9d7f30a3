"""Make OpenVINO's files for peers.py, in the environment that has OpenVINO and NNCF; imports nothing of sdp.

    python benchmarks/peers/peers_openvino.py FOLDER

int8 by NNCF's post-training quantization with its settings for Transformers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# No telemetry.
os.environ.setdefault("NNCF_CI", "1")

import nncf
import numpy as np
import openvino as ov

from peers_engines import FP32, INT8


def build(folder: Path) -> None:
    """Convert what is missing.

    No other way into OpenVINO ran faster: the tracing exporter's file, with plain or fused attention,
    convert_model(torch model), or weights kept as float32 instead of the default float16, at 32, 128 and 384 tokens.
    """
    plain, quantized = folder / "openvino-fp32.xml", folder / "openvino-int8.xml"
    core = ov.Core()
    if not plain.exists():
        _save(core.read_model(folder / f"dense-{FP32.name}.onnx"), plain)
    if not quantized.exists():
        with np.load(folder / "calibration.npz", allow_pickle=False) as archive:
            batches = [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in archive.values()]
        quantize(folder / f"dense-{INT8.name}.onnx", batches, quantized)


def quantize(source: Path, batches: list[dict[str, Any]], target: Path) -> None:
    """Quantize an ONNX file with NNCF's settings for Transformers, its activations by what they are on `batches`."""
    model = ov.Core().read_model(source)
    _save(nncf.quantize(model, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER), target)


def _save(model: Any, target: Path) -> None:
    """The .xml, which says that it is there, after the .bin that goes with it."""
    unfinished = target.with_name(f"unfinished-{target.name}")
    ov.save_model(model, unfinished)
    unfinished.with_suffix(".bin").replace(target.with_suffix(".bin"))
    unfinished.replace(target)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
