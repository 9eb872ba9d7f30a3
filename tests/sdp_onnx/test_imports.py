"""The rules on imports, read from the source, and kept at run time."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sdp_onnx

MODULES = sorted(Path(sdp_onnx.__file__).parent.rglob("*.py"))
ALLOWED = {"numpy", "onnx", "onnxruntime", "google", "sdp_onnx"} | set(sys.stdlib_module_names)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_imports_only_what_it_may(path: Path) -> None:
    statistics = {name: {"scipy"} for name in ("starts.py", "statistics.py")}
    more = {
        "torch_export.py": {"torch", "onnx_ir"},
        "traced_graphs.py": {"torch", "onnx_ir"},
        "tokenization.py": {"tokenizers"},
        "openvino.py": {"openvino"},
        "openvino_int8.py": {"nncf", "openvino"},
        **statistics,
    }
    extra = more.get(path.name, set())
    assert imported(path) <= ALLOWED | extra


def test_the_rule_would_catch_an_import_of_sdp(tmp_path: Path) -> None:
    offender = tmp_path / "offender.py"
    offender.write_text("def f():\n    from sdp.recipe import load\n")
    assert imported(offender) == {"sdp"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sdp_onnx", ("onnx", "numpy")),
        ("sdp_onnx.errors", ("onnx", "numpy")),
        ("sdp_onnx.bench.pair", ("torch", "transformers", "scipy", "sdp")),
        ("sdp_onnx.bench.worker", ("torch", "onnx", "scipy", "sdp")),
        ("sdp_onnx.model.inspect", ("torch", "sdp")),
        ("sdp_onnx.deploy.verify_folder", ("torch", "transformers", "sdp")),
        ("sdp_onnx.deploy.predictor", ("torch", "transformers", "scipy", "sdp")),
        ("sdp_onnx.runtimes.base", ("onnxruntime", "onnx")),
        ("sdp_onnx.runtimes.environment", ("onnxruntime", "onnx")),
    ],
)
def test_heavy_packages_stay_out(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
