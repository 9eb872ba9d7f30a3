"""What may import what, and that asking a question loads no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from support.toy import ONE_THREAD, write_project

REPOSITORY = Path(__file__).parents[2]
STUDY = ["study", "toy.toml", "--vary", "prune.sparsity=0.5,0.9", "--dry-run"]
SWEEP = ["sweep", "toy.toml", "--sparsity", "0.5,0.9", "--dry-run"]
TUNE = ["tune", "toy.toml", "--max-drop", "0.01", "--minutes", "5", "--dry-run"]
TRIMMED = ["check", "toy.toml", "--set", "vocabulary.size=50"]
QUESTIONS = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["schema"],
    ["check", "toy.toml"],
    TRIMMED,
    STUDY,
    SWEEP,
    TUNE,
]
HEAVY = {"torch", "transformers", "datasets", "optimum", "onnxruntime", "sklearn", "matplotlib"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", sorted((REPOSITORY / "export" / "sdp_onnx").rglob("*.py")), ids=lambda path: path.stem)
def test_sdp_onnx_knows_neither_sdp_nor_torch(path: Path) -> None:
    assert "sdp" not in imported(path)
    assert path.stem in ("torch_export", "traced_graphs") or "torch" not in imported(path)


def test_questions_load_no_torch(tmp_path: Path, toy_model: Path) -> None:
    """One process for all questions: what none of them has loaded at the end, each leaves out."""
    write_project(tmp_path, toy_model)
    code = (
        "import sys; from sdp.cli.main import app\n"
        f"for arguments in {QUESTIONS!r}:\n"
        "    try: app(arguments)\n"
        "    except SystemExit as end: assert not end.code, (arguments, end.code)\n"
        f"    print('loaded:', arguments, sorted({HEAVY!r} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=ONE_THREAD, capture_output=True, text=True, check=True)
    loaded = [line for line in done.stdout.splitlines() if line.startswith("loaded:")]
    assert loaded == [f"loaded: {arguments} []" for arguments in QUESTIONS]


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "toolchain/sdp/training").glob("*.py")), ids=lambda path: path.stem
)
def test_training_knows_no_pruning(path: Path) -> None:
    """Pruning, its analysis and its teacher are hooks and an objective, which the stage passes in."""
    taken = [node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert [name for name in taken if name.startswith("sdp.pruning")] == []
