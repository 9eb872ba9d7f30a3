"""The package's build script, which lies beside the C++ sources and is no module of a package; and headers."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

NATIVE = Path(__file__).parents[2] / "export" / "native"
INCLUDE_FOLDERS = [
    *([os.environ["ONNXRUNTIME_HEADERS"]] if "ONNXRUNTIME_HEADERS" in os.environ else []),
    *("/usr/include", "/usr/local/include", "/opt/homebrew/include"),
]
"""Where onnxruntime's headers may be."""


def build_script(native: Path = NATIVE) -> ModuleType:
    """The build script of export/native, or of a copy of that folder, as a module."""
    spec = importlib.util.spec_from_file_location("build", native / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
