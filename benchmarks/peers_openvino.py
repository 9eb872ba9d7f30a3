"""Make OpenVINO's files for peers.py, in the environment that has OpenVINO and NNCF; imports nothing of sdp.

    python benchmarks/peers_openvino.py FOLDER

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


def build(folder: Path) -> None:
    """Convert what is missing."""
    plain, quantized = folder / "openvino-fp32.xml", folder / "openvino-int8.xml"
    core = ov.Core()
    if not plain.exists():
        ov.save_model(core.read_model(folder / "legacy-fp32.onnx"), plain)
    if not quantized.exists():
        model = core.read_model(folder / "legacy-1x4.onnx")
        with np.load(folder / "calibration.npz", allow_pickle=False) as archive:
            batches: list[dict[str, Any]] = [
                {"input_ids": tokens, "attention_mask": np.ones_like(tokens)} for tokens in archive["input_ids"]
            ]
        result = nncf.quantize(model, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER)
        ov.save_model(result, quantized)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
