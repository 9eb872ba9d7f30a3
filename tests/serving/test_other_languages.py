"""The programs of DEPLOYMENT in C++ and JavaScript, taken from the page, on real files: they print Python's logits."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from sdp.models.load import load_finetuned
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import LIBRARY_NAME, has_library, library_path
from sdp_onnx.runtimes.registry import default_runtime
from support.documents import blocks, read
from support.native_build import INCLUDE_FOLDERS, build_script

IDS = [2, 7, 9, 3]
NAMES = ("input_ids", "attention_mask", "token_type_ids")
HEADER = "onnxruntime_cxx_api.h"
LIBRARY_ONLY = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


@pytest.fixture(scope="module")
def dense(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("languages") / "dense.onnx"
    export_torch(load_finetuned(finished / "runs/toy/2-prune").eval(), path, input_names=NAMES)
    return path


def expected(path: Path) -> list[float]:
    ids = np.array([IDS], dtype=np.int64)
    inputs = dict(zip(NAMES, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
    found: list[float] = default_runtime().load(path).run(inputs)[0].tolist()
    return found


def printed(command: Sequence[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def numbers(done: subprocess.CompletedProcess[str]) -> list[float]:
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.splitlines()]


@LIBRARY_ONLY
def test_cpp(dense: Path, tmp_path: Path) -> None:
    compiler = build_script().find_compiler()
    found = next((path for root in INCLUDE_FOLDERS for path in sorted(Path(root).rglob(HEADER))), None)
    own = next(iter(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")), None)
    if compiler is None or found is None or own is None:
        pytest.skip("needs a compiler, onnxruntime's headers (Debian 13: apt install libonnxruntime-dev) and Linux")
    (program,) = blocks(read("DEPLOYMENT.md"), "cpp")
    (tmp_path / "main.cpp").write_text(program, encoding="utf-8")
    # By the name under which programs look for it.
    (tmp_path / "libonnxruntime.so.1").symlink_to(own)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", str(found.parent)]
    built = printed([*compiler, *flags, "main.cpp", "libonnxruntime.so.1", "-Wl,-rpath,.", "-o", "main"], tmp_path)
    assert built.returncode == 0, built.stderr
    encode_model(dense, tmp_path / "model.onnx", encoding="kernel", precision="int8", metadata={})
    shutil.copy(library_path(), tmp_path / LIBRARY_NAME)
    assert numbers(printed(["./main"], tmp_path)) == pytest.approx(expected(tmp_path / "model.onnx"), abs=2e-6)


def node() -> list[str]:
    program = shutil.which("node")
    if program is None or printed([program, "-e", "require('onnxruntime-node')"], Path.cwd()).returncode:
        pytest.skip("needs Node.js and onnxruntime-node in NODE_PATH")
    return [program]


def test_javascript(dense: Path, tmp_path: Path) -> None:
    command = node()
    (program,) = blocks(read("DEPLOYMENT.md"), "js")
    (tmp_path / "main.js").write_text(program, encoding="utf-8")
    encode_model(dense, tmp_path / "model.onnx", encoding="coo", metadata={})
    found = numbers(printed([*command, "main.js"], tmp_path))
    assert found == pytest.approx(expected(tmp_path / "model.onnx"), abs=2e-6)


@LIBRARY_ONLY
def test_javascript_refuses_a_file_with_the_librarys_operators(dense: Path, tmp_path: Path) -> None:
    command = node()
    (program,) = blocks(read("DEPLOYMENT.md"), "js")
    (tmp_path / "main.js").write_text(program, encoding="utf-8")
    encode_model(dense, tmp_path / "model.onnx", encoding="kernel", precision="int8", metadata={})
    refused = printed([*command, "main.js"], tmp_path)
    assert refused.returncode != 0
    assert "sdp" in refused.stderr
