"""Run one shipped folder's golden inputs, in an environment that has neither sdp nor its versions; called by
onnxruntime_versions.py. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

QUIET = 4


def main(folder: Path) -> None:
    """Load the model with plain onnxruntime, and compare its logits with those stored in golden.json."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    onnxruntime.set_default_logger_severity(QUIET)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    result: dict[str, Any] = {"onnxruntime": onnxruntime.__version__}
    try:
        if manifest["operator_library"]:
            options.register_custom_ops_library(str(folder / manifest["operator_library"]))
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        errors = [_error(session, case, golden["words"]) for case in golden["cases"]]
        result |= {"cases": len(errors), "largest_error": max(errors), "tolerance": golden["tolerance"]}
    except Exception as error:  # what an older release raises is unknown
        result["refused"] = " ".join(str(error).split())
    print(json.dumps(result))


def _error(session: Any, case: dict[str, Any], words: bool) -> float:
    """Largest difference of a case's logits to the stored ones, as a share of the largest; not that of padding."""
    inputs = {name: np.array(value, np.int64) for name, value in case["inputs"].items()}
    stored, logits = np.array(case["logits"], np.float32), session.run(None, inputs)[0]
    if words:
        real = inputs["attention_mask"] == 1
        stored, logits = stored[real], logits[real]
    return float(np.abs(stored - logits).max() / np.abs(stored).max())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
