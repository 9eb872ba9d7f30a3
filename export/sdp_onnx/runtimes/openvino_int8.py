"""Quantize an ONNX file for OpenVINO: `python -m sdp_onnx.runtimes.openvino_int8 SOURCE INPUTS TARGET`.

int8 by NNCF's post-training quantization with its settings for Transformers; activations are scaled by what they are on
the first case of INPUTS, a file of `bench.cases.save_batches`. TARGET is an .xml file; a .bin file goes with it. In a
process of its own, because NNCF changes libraries that it imports.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from sdp_onnx.bench.cases import Case, load_batches, save_batches
from sdp_onnx.errors import BenchmarkError, ProviderError

_STDERR_TAIL = 2000


def quantize(source: Path, calibration: Case, target: Path) -> None:
    """Write OpenVINO's int8 model of an ONNX file.

    Args:
        source: the file.
        calibration: the batches on which activations are measured.
        target: an .xml file; its weights are in a .bin file beside it.

    Raises:
        ProviderError: NNCF is not installed.
        BenchmarkError: NNCF fails; the message has the end of what it printed.
    """
    if find_spec("nncf") is None:
        hint = 'Install it: pip install "sdp[openvino]"'
        raise ProviderError("the package nncf is not installed", where="openvino", hint=hint)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.npz")
        save_batches(inputs, [calibration])
        command = [sys.executable, "-m", __name__, str(source), str(inputs), str(target)]
        # Without it NNCF sends statistics of its use.
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NNCF_CI": "1"}, check=False)
    if done.returncode != 0:
        raise BenchmarkError(
            f"NNCF cannot quantize the model: {done.stderr[-_STDERR_TAIL:].strip()}", where=str(source)
        )


def _main(source: Path, inputs: Path, target: Path) -> None:
    import nncf
    import openvino

    model = openvino.Core().read_model(source)
    batches = load_batches(inputs)[0]
    kind = nncf.ModelType.TRANSFORMER
    # NNCF reads 300 batches by default.
    quantized = nncf.quantize(model, nncf.Dataset(batches), model_type=kind, subset_size=len(batches))
    openvino.save_model(quantized, target)


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
