"""Everything that runs a model file goes through a row of `RUNTIMES`."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sdp
import sdp_onnx
from sdp_onnx.bench import worker
from sdp_onnx.bench.cases import Case, save_batches
from sdp_onnx.deploy.verify import verify_logits
from sdp_onnx.errors import ModelRunError, VerificationError
from sdp_onnx.runtimes.base import Capabilities, LoadedModel, Runtime
from sdp_onnx.runtimes.environment import environment_record
from sdp_onnx.runtimes.registry import DEFAULT, RUNTIMES, default_runtime

MODULES = [path for package in (sdp, sdp_onnx) for path in Path(package.__file__ or "").parent.rglob("*.py")]
IDS = {"input_ids": np.array([[1, 2, 3]]), "attention_mask": np.ones((1, 3), np.int64)}


class Doubling:
    """A model whose logits are twice its input ids."""

    input_names = ("input_ids", "attention_mask")

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if inputs["input_ids"].size > 4:
            raise ModelRunError("too many tokens\nof them")
        return np.asarray(inputs["input_ids"] * 2, np.float32)

    def bind(self, inputs: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        raise NotImplementedError

    def end_profile(self) -> Path:
        return Path("profile.json")


class Toy:
    """A runtime for which every file is a `Doubling`."""

    name = "toy"
    capabilities = Capabilities(("cpu",), operator_library=False, profile=False)

    def require(self, provider: str) -> None: ...

    def load(self, path: Path, **_: Any) -> LoadedModel:
        return Doubling()

    def environment(self) -> dict[str, Any]:
        return {"packages": {"toy": "1"}, "providers": ["toy"]}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime: Runtime = Toy()
    monkeypatch.setitem(RUNTIMES, DEFAULT, runtime)


def imports(path: Path, package: str) -> bool:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return any(
        name.partition(".")[0] == package
        for name in [*plain, *(node.module or "" for node in nodes if isinstance(node, ast.ImportFrom))]
    )


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("onnxruntime", {"runtimes/onnxruntime.py"}),
        ("openvino", {"runtimes/openvino.py", "runtimes/openvino_int8.py"}),
        ("nncf", {"runtimes/openvino_int8.py"}),
    ],
)
def test_a_runtime_is_imported_by_its_own_modules_alone(package: str, modules: set[str]) -> None:
    """The profile that onnxruntime writes is read as plain JSON (runtimes/profile_events.py)."""
    root = Path(sdp_onnx.__file__).parent
    assert {path.relative_to(root).as_posix() for path in MODULES if imports(path, package)} == modules


def test_a_row_is_under_its_name() -> None:
    assert {name: runtime.name for name, runtime in RUNTIMES.items()} == {name: name for name in RUNTIMES}
    assert default_runtime() is RUNTIMES[DEFAULT]


def test_verification_runs_the_file_in_the_runtime(toy: None) -> None:
    doubled = np.array([[2, 4, 6]], np.float32)
    assert verify_logits(Path("a"), [(IDS, doubled)], tolerance=0).relative_error == 0
    long = {"input_ids": np.zeros((2, 3), np.int64)}
    with pytest.raises(VerificationError, match=r"toy cannot run .* of shape \[2, 3\]: too many tokens\n  The"):
        verify_logits(Path("a"), [(long, doubled)], tolerance=0)


def test_the_worker_of_a_benchmark_runs_the_file_in_the_runtime(toy: None, tmp_path: Path) -> None:
    save_batches(tmp_path / "inputs.npz", [Case("one", 1, 3, [IDS])])
    inputs = str(tmp_path / "inputs.npz")
    setup = {"model": "a", "inputs": inputs, "runtime": DEFAULT, "provider": "cpu", "threads": 1, "profile": None}
    answers = io.StringIO()
    requests = [setup, {"turn": 0, "first": 0, "runs": 3}, {"profile": True}, {"finish": True}]
    worker._serve(iter(requests), answers)
    _, turn, profile, _ = map(json.loads, answers.getvalue().splitlines())
    assert len(turn["seconds"]) == 3
    assert profile == {"profile": "profile.json"}


def test_the_record_of_a_measurement_names_the_runtime(toy: None) -> None:
    record = environment_record()
    assert record["providers"] == ["toy"]
    packages = record["packages"]
    assert isinstance(packages, dict)
    assert packages["toy"] == "1"
